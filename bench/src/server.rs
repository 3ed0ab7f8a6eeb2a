//! The server under test: starts it in a directory of its own, finds its address, and takes both away at the end.

use std::fs::File;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::error::{Error, Result, fail};

/// The server must say within this time where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(15);
const MASTER_KEY: &str = "bench-master-key-0123456789";

/// A running server. Dropping it stops one that was started here and removes its directory.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddrV4,
    /// Its master key.
    pub(crate) master_key: String,
    /// Its process, for CPU seconds and memory; unknown for a server that was not started here, unless told.
    pub(crate) pid: Option<u32>,
    started: Option<Started>,
}

/// Fields drop in order: the process is dead before its directory goes.
#[derive(Debug)]
struct Started {
    process: Guard,
    directory: TempDir,
}

#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself; either way `wait` reaps it.
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

impl Server {
    /// Starts `executable serve` with `flags`, and nothing in its environment but what is set here and in `environment`.
    /// Before that `prepare` may put a database into its directory.
    pub(crate) fn start(
        executable: &Path,
        environment: &[(String, String)],
        flags: &[String],
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("chatapi-bench-").tempdir()?;
        prepare(directory.path())?;
        // The log goes to a file, not to a pipe: nobody has to drain it while the load runs.
        let log = File::create(log_of(&directory))?;
        let child = Command::new(absolute(executable)?)
            .args(["serve", "--listen-addr", "127.0.0.1:0"])
            .args(flags)
            .current_dir(directory.path())
            .env_clear()
            .env("DATA_DIR", directory.path())
            .env("MASTER_API_KEY", MASTER_KEY)
            .env("LOG_LEVEL", "info")
            .env("LOG_FORMAT", "json")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| Error::Failed(format!("{}: {error}", executable.display())))?;
        let pid = child.id();
        let mut started = Started { process: Guard(child), directory };
        let address = match started.wait_for_address() {
            Ok(address) => address,
            Err(error) => return fail(format!("{error}\n{}", started.log_tail())),
        };
        Ok(Self { address, master_key: MASTER_KEY.to_owned(), pid: Some(pid), started: Some(started) })
    }

    /// A server that runs already. Loopback only: these loads are no tool against somebody else's server.
    pub(crate) fn running(url: &str, master_key: &str, pid: Option<u32>) -> Result<Self> {
        let text = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let Ok(address) = text.replace("localhost", "127.0.0.1").parse::<SocketAddrV4>() else {
            return fail(format!("{url} is not of the form 127.0.0.1:PORT"));
        };
        if !address.ip().is_loopback() {
            return fail(format!("{address} is not a loopback address"));
        }
        Ok(Self { address, master_key: master_key.to_owned(), pid, started: None })
    }

    /// The directory of a server that was started here.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.started.as_ref().map(|started| started.directory.path())
    }

    /// The end of the log of a server that was started here.
    pub(crate) fn log_tail(&self) -> String {
        self.started.as_ref().map(Started::log_tail).unwrap_or_default()
    }
}

impl Started {
    fn wait_for_address(&mut self) -> Result<SocketAddrV4> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let log = std::fs::read_to_string(log_of(&self.directory))?;
            // Only whole lines: the last one may still be in the making.
            if let Some(address) = log.split_inclusive('\n').filter(|line| line.ends_with('\n')).find_map(listening) {
                return Ok(address);
            }
            if let Some(status) = self.process.0.try_wait()? {
                return fail(format!("the server ended at its start: {status}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        fail("the server did not say in time where it listens")
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(log_of(&self.directory)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn log_of(directory: &TempDir) -> PathBuf {
    directory.path().join("server.log")
}

/// The server runs in another working directory, so a relative path must be resolved before.
fn absolute(executable: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(executable).map_err(|error| Error::Failed(format!("{}: {error}", executable.display())))
}

/// The address in a log line that says `listening`; fields stand at the top or under `fields`.
fn listening(line: &str) -> Option<SocketAddrV4> {
    let record: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| record.get(name).or_else(|| record.get("fields")?.get(name))?.as_str();
    if field("message")? != "listening" {
        return None;
    }
    field("address")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address() {
        let expected = Some("127.0.0.1:4321".parse().unwrap());
        assert_eq!(listening(r#"{"level":"INFO","message":"listening","address":"127.0.0.1:4321"}"#), expected);
        assert_eq!(listening(r#"{"fields":{"message":"listening","address":"127.0.0.1:4321"}}"#), expected);
        assert_eq!(listening(r#"{"fields":{"message":"stopping","address":"127.0.0.1:4321"}}"#), None);
        assert_eq!(listening("no JSON"), None);
    }

    #[test]
    fn loopback_only() {
        assert!(Server::running("127.0.0.1:80", "key", None).is_ok());
        assert!(Server::running("http://localhost:80/", "key", None).is_ok());
        for other in ["10.0.0.1:80", "example.com:80", "0.0.0.0:80", "127.0.0.1"] {
            assert!(Server::running(other, "key", None).is_err(), "{other}");
        }
    }

    #[test]
    fn a_server_that_ends_is_reported() {
        let error = Server::start(Path::new("/bin/false"), &[], &[], |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("ended at its start"), "{error}");
    }
}
