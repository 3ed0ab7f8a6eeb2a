//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};

use crate::settings::{EnvFileError, RECORD, RECORD_MAX_SIZE, Sources, VARIABLES, read_env_file};

/// Reads the command line, the environment and `.env` in the working directory. Ends the process where the command line
/// asks for help or makes no sense.
///
/// # Errors
///
/// A `.env` that cannot be read as it is meant.
pub fn read() -> Result<Sources, EnvFileError> {
    let matches = command().get_matches();
    let serve = matches.subcommand_matches("serve").unwrap_or(&matches);
    let names = VARIABLES.iter().map(|variable| variable.name).chain([RECORD, RECORD_MAX_SIZE]);
    let flags =
        names.filter_map(|name| Some((name, serve.get_one::<OsString>(name)?.clone()))).collect::<BTreeMap<_, _>>();
    // No variable of ours has a name that is no text; its value may well be none, and is then to be refused.
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    Ok(Sources { flags, environment, file: read_env_file(Path::new(".env"))? })
}

fn command() -> Command {
    let serve = || {
        let variables = VARIABLES.iter().map(|variable| {
            let long = variable.name.to_lowercase().replace('_', "-");
            argument(variable.name).long(long).value_name("VALUE").help(variable.help)
        });
        variables.chain([
            argument(RECORD).long("record").value_name("FILE").help(
                "Write every input to a new FILE, for `chatapi-sim replay`. Contents of messages, user ids and the like \
                 are in it; keys, tokens, secrets and addresses of webhooks are not, nor anything they can be guessed by",
            ),
            argument(RECORD_MAX_SIZE)
                .long("record-max-size")
                .value_name("SIZE")
                .requires(RECORD)
                .help("Where the recording ends, as in 64MiB; the server goes on [default: 1GiB]"),
        ])
    };
    Command::new("chatapi")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A chat backend: rooms, durable messages, live delivery over WebSocket")
        .after_help("Each flag but --record and --record-max-size is also an environment variable (LISTEN_ADDR), read from .env too; secrets are that alone: MASTER_API_KEY, METRICS_TOKEN.")
        .args_conflicts_with_subcommands(true)
        .args(serve())
        .subcommand(Command::new("serve").about("Serve chat (the default)").args(serve()))
}

/// An argument whose value may be no text, for the settings to say so under its name.
fn argument(name: &'static str) -> Arg {
    Arg::new(name).value_parser(clap::value_parser!(OsString))
}
