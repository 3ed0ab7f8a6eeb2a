//! What a measured window cost: seconds of CPU on both sides, memory of the server.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};
use crate::server::Server;

/// The start of a measured window.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: Option<u32>,
    start: Instant,
    server: Option<f64>,
    client: f64,
}

/// What a window took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Wall time.
    pub(crate) seconds: f64,
    /// User and system time of the server, all of its threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<f64>,
    /// User and system time of this process.
    pub(crate) client_cpu: f64,
}

impl Meter {
    /// Begins a window.
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let server_cpu = server.pid.map(cpu_seconds).transpose()?;
        Ok(Self { pid: server.pid, start: Instant::now(), server: server_cpu, client: own_cpu() })
    }

    /// What was used since the start.
    pub(crate) fn read(&self) -> Result<Usage> {
        let now = self.pid.map(cpu_seconds).transpose()?;
        Ok(Usage {
            seconds: self.start.elapsed().as_secs_f64(),
            server_cpu: now.zip(self.server).map(|(now, start)| now - start),
            client_cpu: own_cpu() - self.client,
        })
    }
}

impl Usage {
    /// So many for each second of the server's CPU.
    pub(crate) fn per_server_second(&self, count: u64) -> Option<f64> {
        self.server_cpu.filter(|seconds| *seconds > 0.0).map(|seconds| round(count as f64 / seconds))
    }

    /// So many for each second.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        round(count as f64 / self.seconds)
    }
}

/// Three decimals: more would only pretend.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The server's resident memory in kB, where its process is known.
pub(crate) fn rss_kb(server: &Server) -> Result<Option<u64>> {
    let Some(pid) = server.pid else { return Ok(None) };
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path)?;
    parse_rss(&status).map(Some).ok_or_else(|| Error::Failed(format!("no VmRSS in {path}")))
}

/// Seconds that the server's thread of this name was on a CPU, where its process is known.
pub(crate) fn thread_seconds(server: &Server, name: &str) -> Result<Option<f64>> {
    let Some(pid) = server.pid else { return Ok(None) };
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        // A thread may end meanwhile.
        let (Ok(comm), Ok(stat)) =
            (std::fs::read_to_string(path.join("comm")), std::fs::read_to_string(path.join("schedstat")))
        else {
            continue;
        };
        if comm.trim_end() == name {
            let nanos: Option<u64> = stat.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
            return Ok(nanos.map(|nanos| nanos as f64 / 1e9));
        }
    }
    Ok(None)
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path)?;
    let ticks = parse_ticks(&stat).ok_or_else(|| Error::Failed(format!("no CPU times in {path}")))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

fn parse_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// utime and stime. The name of the program stands before them in parentheses and may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_proc() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 200";
        assert_eq!(parse_ticks(stat), Some(300));
        assert_eq!(parse_ticks("nonsense"), None);
        assert_eq!(parse_rss("VmPeak:\t  9 kB\nVmRSS:\t   1234 kB\n"), Some(1234));
    }

    #[test]
    fn reads_this_process() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        let server = Server::running("127.0.0.1:1", "key", Some(pid)).unwrap();
        assert!(rss_kb(&server).unwrap().unwrap() > 100);
    }
}
