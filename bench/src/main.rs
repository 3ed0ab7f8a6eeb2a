//! `chatapi-bench`: loads against the real server. Each is one command and gives one line of JSON on stdout; what was
//! wrong goes to stderr, and the exit code is then 1.
//!
//! The client shares its machine with the server it measures, so it must be far cheaper: one thread, non-blocking
//! sockets under epoll, requests formatted beforehand, and of each answer only the few fields that are checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};

mod conn;
mod error;
mod exchange;
mod fill;
mod histogram;
mod http;
mod json;
mod limits;
mod loads;
mod poller;
mod server;
mod setup;
mod socket;
mod usage;
mod ws;

use error::{Error, Result, fail};
use loads::Outcome;
use poller::Poller;
use server::Server;

/// Loads against the real ChatAPI server, each one line of JSON
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    load: Load,
    /// The server to start [default: `chatapi` beside this executable]
    #[arg(long, global = true, conflicts_with = "url")]
    server: Option<PathBuf>,
    /// A variable for the started server's environment, as NAME=VALUE
    #[arg(long, global = true, conflicts_with = "url", value_parser = variable)]
    env: Vec<(String, String)>,
    /// A flag for the started server, as --record=FILE; FILE is in the server's own directory, which goes at the end
    #[arg(long, global = true, conflicts_with = "url", allow_hyphen_values = true)]
    server_flag: Vec<String>,
    /// A server that runs already, as 127.0.0.1:PORT; loopback only
    #[arg(long, global = true)]
    url: Option<String>,
    /// The master key of the server at --url [default: MASTER_API_KEY of the environment]
    #[arg(long, global = true)]
    master_key: Option<String>,
    /// The process of the server at --url, for its CPU seconds and memory
    #[arg(long, global = true)]
    pid: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Load {
    RestSend(loads::rest_send::Args),
    Idle(loads::idle::Args),
    WsSend(loads::ws_send::Args),
    SlowReader(loads::slow_reader::Args),
    Storm(loads::storm::Args),
    LargeRoom(loads::large_room::Args),
    ManyRooms(loads::many_rooms::Args),
    ManyTenants(loads::many_tenants::Args),
    Delete(loads::delete::Args),
    Unread(loads::unread::Args),
}

impl Load {
    /// Files that a load opens, where that is more than any limit allows anyway.
    fn files(&self) -> u64 {
        match self {
            Self::Idle(args) => loads::idle::files(args),
            Self::Storm(args) => loads::storm::files(args),
            Self::RestSend(_)
            | Self::WsSend(_)
            | Self::SlowReader(_)
            | Self::LargeRoom(_)
            | Self::ManyRooms(_)
            | Self::ManyTenants(_)
            | Self::Delete(_)
            | Self::Unread(_) => 4096 + limits::SPARE,
        }
    }

    /// Puts into the directory of the server what a load wants to find there.
    fn prepare(&self, directory: &Path) -> Result<()> {
        match self {
            Self::Delete(args) => loads::delete::prepare(directory, args),
            Self::Unread(args) => loads::unread::prepare(directory, args),
            Self::RestSend(_)
            | Self::Idle(_)
            | Self::WsSend(_)
            | Self::SlowReader(_)
            | Self::Storm(_)
            | Self::LargeRoom(_)
            | Self::ManyRooms(_)
            | Self::ManyTenants(_) => Ok(()),
        }
    }

    fn run(&self, server: &Server, poller: &Poller) -> Result<Outcome> {
        match self {
            Self::RestSend(args) => loads::rest_send::run(server, poller, args),
            Self::Idle(args) => loads::idle::run(server, poller, args),
            Self::WsSend(args) => loads::ws_send::run(server, poller, args),
            Self::SlowReader(args) => loads::slow_reader::run(server, poller, args),
            Self::Storm(args) => loads::storm::run(server, poller, args),
            Self::LargeRoom(args) => loads::large_room::run(server, poller, args),
            Self::ManyRooms(args) => loads::many_rooms::run(server, poller, args),
            Self::ManyTenants(args) => loads::many_tenants::run(server, poller, args),
            Self::Delete(args) => loads::delete::run(server, poller, args),
            Self::Unread(args) => loads::unread::run(server, poller, args),
        }
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(outcome) => {
            println!("{}", outcome.line);
            for failure in &outcome.failures.first {
                eprintln!("{failure}");
            }
            if outcome.failures.count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("chatapi-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome> {
    // A signal ends the run through the ordinary path, so that the server and its directory go as well.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    limits::require_files(cli.load.files())?;
    let server = target(cli)?;
    let outcome = Poller::new(&stop).and_then(|poller| cli.load.run(&server, &poller));
    outcome.map_err(|error| Error::Failed(format!("{error}\n{}", server.log_tail()).trim_end().to_owned()))
}

fn target(cli: &Cli) -> Result<Server> {
    if let Some(url) = &cli.url {
        let key = cli.master_key.clone().or_else(|| std::env::var("MASTER_API_KEY").ok());
        let Some(key) = key else {
            return fail("--url needs --master-key, or MASTER_API_KEY in the environment");
        };
        return Server::running(url, &key, cli.pid);
    }
    let executable = match &cli.server {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("chatapi"),
    };
    Server::start(&executable, &cli.env, &cli.server_flag, |directory| cli.load.prepare(directory))
}

fn variable(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["chatapi-bench", "idle", "--connections", "10", "--env", "A=b=c"]).unwrap();
        assert_eq!(cli.env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(cli.load.files(), 10 + limits::SPARE);
        let flag = "--record=run.jsonl";
        let cli = Cli::try_parse_from(["chatapi-bench", "ws-send", "--server-flag", flag]).unwrap();
        assert_eq!(cli.server_flag, [flag]);
    }
}
