//! A disk that is really full: a file system of a few megabytes. Mounting one needs root; elsewhere these tests only say
//! that they did nothing.

use std::path::PathBuf;

use chatapi_core::UnixMillis;
use chatapi_core::store::{StoreFailure, StoreReply, StoreRequest};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::writing::{Bench, append, numbers, read_head};

#[test]
fn a_disk_that_fills_up_is_answered_as_such_keeps_nothing_and_serves_again_with_the_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut bench = Bench::with(|options| options.path = disk.path.join("chat.db"));
    let mut stored = 0;
    let full = loop {
        match numbers(&bench.run(vec![append(stored + 1), read_head()]))[..] {
            [Ok(seq), Ok(head)] => {
                assert_eq!((seq, head), (stored + 1, stored + 1));
                stored = seq;
            }
            [failed, head] => break (failed, head),
            ref other => panic!("{other:?}"),
        }
    };
    assert!(stored > 100, "{stored}");
    assert_eq!(full, (Err(StoreFailure::Full), Ok(stored)), "reads are served");
    for round in 0..10 {
        let batch = (0..50).map(|number| append(9_000 + 100 * round + number)).collect();
        assert!(numbers(&bench.run(batch)).iter().all(|answer| *answer == Err(StoreFailure::Full)));
        assert_eq!(bench.run(vec![check_writable()]), [Err(StoreFailure::Full)], "the health check says the same");
    }
    assert_eq!(bench.stored(), stored, "nothing of what was refused is there");
    disk.grow();
    assert_eq!(bench.run(vec![check_writable()]), [Ok(StoreReply::Written)]);
    assert_eq!(numbers(&bench.run(vec![append(20_000)])), [Ok(stored + 1)]);
    let mut bench = bench.reopen();
    assert_eq!(bench.stored(), stored + 1);
}

#[test]
fn space_that_only_the_log_takes_is_made_free_by_itself() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut bench = Bench::with(|options| options.path = disk.path.join("chat.db"));
    // Each takes a page of the log, and all of them the same page of the database.
    for now in 0..900 {
        let written = bench.run(vec![StoreRequest::CheckWritable { now: UnixMillis(now) }]);
        assert_eq!(written, [Ok(StoreReply::Written)], "{now}");
    }
}

fn check_writable() -> StoreRequest {
    StoreRequest::CheckWritable { now: UnixMillis(1_000) }
}

struct SmallDisk {
    path: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        // By system calls: a child process would hold the locks of other tests' databases until it is another program.
        let mounted = mount("tmpfs", &path, "tmpfs", MountFlags::empty(), c"size=3m");
        if let Err(error) = &mounted {
            eprintln!("no disk could be mounted here: {error}");
        }
        mounted.is_ok().then_some(Self { path, _parent: parent })
    }

    fn grow(&self) {
        mount_remount(&self.path, MountFlags::empty(), "size=30m").unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It goes with the last file that is open on it.
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("a disk stays mounted: {error}");
        }
    }
}
