//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Result, fail};

/// Files beside the connections: logs, the database, the poller, and what a careful server keeps free.
pub(crate) const SPARE: u64 = 256;

/// Makes sure that this process, and a server started by it, may open so many files.
pub(crate) fn require_files(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|hard| hard < needed) {
        return fail(format!("{needed} open files are needed, the hard limit is {:?}", limit.maximum));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_files_are_there_and_too_many_are_refused() {
        require_files(1).unwrap();
        if getrlimit(Resource::Nofile).maximum.is_some() {
            assert!(require_files(u64::MAX).is_err());
        }
    }
}
