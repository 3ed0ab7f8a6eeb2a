//! Opening a database that is damaged: [`Store::open`], and what the store answers if it opens.
//!
//! An input is text. Its first line names what it starts from: `empty`, `filled`, `filled wal` (the log not yet moved
//! into the database), `newer wal` or `foreign wal`. Each further line damages a file, `db`, `wal` or `journal`:
//!
//! ```text
//! db 96:00000001            at byte 96 these bytes
//! db 'last_seq'=last_sex    where this text first stands, that text
//! db "user-1":ff            wherever this text stands, in tables and indexes alike, these bytes
//! db cut 5000               only the first 5000 bytes
//! db grow 512               so many zeros more
//! ```

mod requests;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chatapi_storage_sqlite::{OpenError, Options, Store, Synchronous};
use tempfile::TempDir;

use seeds::Files;

/// Far beyond what any input should take; libFuzzer's own limit is coarser.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest file that an input can make.
const FILE_MAX_BYTES: usize = 256 * 1024;

/// Damages a database, opens it and asks it everything.
pub fn run(input: &[u8]) {
    let mut lines = input.split(|&byte| byte == b'\n');
    let mut files = seeds::named(lines.next().unwrap_or_default());
    for line in lines {
        damage(&mut files, line);
    }
    let directory = scratch();
    let path = directory.path().join("chat.db");
    write(&files, &path);
    let start = Instant::now();
    match open(&path) {
        Ok(store) => requests::ask_everything(&store),
        Err(error) => check_refusal(&error, &files, &path),
    }
    // The lock is free again, whatever became of the first.
    if let Err(again) = open(&path) {
        assert!(!matches!(again, OpenError::InUse { .. }), "{again}");
        assert!(!again.to_string().is_empty());
    }
    let elapsed = start.elapsed();
    assert!(elapsed < PATIENCE, "it took {elapsed:?}");
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(options(path))
}

fn options(path: &Path) -> Options {
    Options { synchronous: Synchronous::Normal, busy_timeout: Duration::from_millis(50), ..Options::new(path) }
}

/// A refusal names the file and says why; a file that is not ours is left as it is.
fn check_refusal(error: &OpenError, files: &Files, path: &Path) {
    let text = error.to_string();
    // SQLite quotes what is wrong in a schema, however long; our own words are few.
    let is_sqlite_s = matches!(error, OpenError::Sqlite { .. } | OpenError::Migration { .. });
    assert!(text.contains("chat.db") && (text.len() < 500 || is_sqlite_s), "{text}");
    assert!(!text.contains("CREATE TABLE server_state"), "the script of a migration is told: {text}");
    match error {
        OpenError::NotADatabase { .. }
        | OpenError::Original { .. }
        | OpenError::Foreign { .. }
        | OpenError::TooNew { .. } => {
            // What another program's crash left half written SQLite takes back before it reads anything.
            if files.journal.is_some() {
                return;
            }
            let now = fs::read(path).unwrap_or_default();
            assert!(now == files.database, "{text}, and yet it was written to");
            if let Some(log) = &files.wal {
                let now = fs::read(beside(path, "-wal")).unwrap_or_default();
                assert!(now == *log, "{text}, and yet its log was written to");
            }
        }
        OpenError::Sqlite { .. } | OpenError::Migration { .. } | OpenError::NoWriteAheadLog { .. } => {}
        OpenError::InUse { .. }
        | OpenError::NoFile { .. }
        | OpenError::ManyNames { .. }
        | OpenError::File { .. }
        | OpenError::Thread(_) => {
            panic!("{text}")
        }
    }
}

/// In memory where there is such a file system: nothing here is worth a disk's time.
fn scratch() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    let made = if in_memory.is_dir() { TempDir::new_in(in_memory) } else { TempDir::new() };
    made.expect("a directory for the database")
}

fn write(files: &Files, path: &Path) {
    for (suffix, bytes) in
        [("", Some(&files.database)), ("-wal", files.wal.as_ref()), ("-journal", files.journal.as_ref())]
    {
        if let Some(bytes) = bytes {
            fs::write(beside(path, suffix), bytes).expect("the files of the database are written");
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Carries out one line; what cannot be read does nothing.
fn damage(files: &mut Files, line: &[u8]) {
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return };
    let (name, what) = (&line[..space], &line[space + 1..]);
    let file = match name {
        b"db" => &mut files.database,
        b"wal" => files.wal.get_or_insert_default(),
        b"journal" => files.journal.get_or_insert_default(),
        _ => return,
    };
    if let Some(length) = what.strip_prefix(b"cut ").and_then(number) {
        file.truncate(length);
    } else if let Some(more) = what.strip_prefix(b"grow ").and_then(number) {
        file.resize((file.len() + more.min(FILE_MAX_BYTES)).min(FILE_MAX_BYTES.max(file.len())), 0);
    } else if let Some((places, bytes)) = overwriting(file, what) {
        for place in places {
            let end = (place + bytes.len()).min(FILE_MAX_BYTES);
            if end > file.len() {
                file.resize(end, 0);
            }
            for (byte, new) in file.iter_mut().skip(place).zip(&bytes) {
                *byte = *new;
            }
        }
    }
}

/// Where something is written, and what. A place past the end wraps around, so that mutations keep on hitting.
fn overwriting(file: &[u8], what: &[u8]) -> Option<(Vec<usize>, Vec<u8>)> {
    let (places, rest) = match what.split_first()? {
        (quote @ (b'\'' | b'"'), quoted) => {
            let end = quoted.iter().position(|byte| byte == quote).filter(|end| *end > 0)?;
            let (text, rest) = quoted.split_at(end);
            let windows = file.windows(end).enumerate();
            let found = windows.filter(|(_, window)| *window == text).map(|(place, _)| place);
            (found.take(if *quote == b'"' { usize::MAX } else { 1 }).collect(), &rest[1..])
        }
        _ => {
            let digits = what.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (vec![number(&what[..digits])? % (file.len() + 1)], &what[digits..])
        }
    };
    let bytes = match rest.split_first()? {
        (b'=', text) => text.to_vec(),
        (b':', digits) => digits.chunks_exact(2).map(hexadecimal).collect::<Option<_>>()?,
        _ => return None,
    };
    Some((places, bytes))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_damages_its_file() {
        let mut files = Files { database: b"0123456789".to_vec(), wal: None, journal: None };
        for (line, database) in [
            ("db 2:6162", "01ab456789"),
            ("db '45'=xyz", "01abxyz789"),
            ("db 9=end", "01abxyz78end"),
            ("db 13:2a", "*1abxyz78end"),
            ("db \"b\":2a", "*1a*xyz78end"),
            ("db 1=b", "*ba*xyz78end"),
            ("db \"*\"=1", "1ba1xyz78end"),
            ("db 0=*1a", "*1a1xyz78end"),
            ("db cut 3", "*1a"),
            ("db grow 1", "*1a\0"),
            ("db 0:zz", "*1a\0"),
            ("db 'none'=x", "*1a\0"),
            ("nothing", "*1a\0"),
        ] {
            damage(&mut files, line.as_bytes());
            assert_eq!(String::from_utf8_lossy(&files.database), database, "{line}");
        }
        damage(&mut files, b"wal 0:00");
        assert_eq!((files.wal, files.journal), (Some(vec![0]), None));
    }

    #[test]
    fn an_undamaged_database_opens_and_serves() {
        for seed in ["empty", "filled", "filled wal"] {
            let files = seeds::named(seed.as_bytes());
            let directory = scratch();
            let path = directory.path().join("chat.db");
            write(&files, &path);
            let failures = requests::failures(&open(&path).unwrap());
            assert_eq!(failures, Vec::<String>::new(), "{seed}");
        }
    }
}
