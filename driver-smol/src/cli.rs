//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, Command};

use crate::settings::{RECORD, RECORD_MAX_SIZE, Sources, VARIABLES};
use crate::stderr::tell;

/// Reads the command line, the environment and `.env` in the working directory. Ends the process where the command line
/// asks for help or makes no sense.
#[must_use]
pub fn read() -> Sources {
    let matches = command().get_matches();
    let serve = matches.subcommand_matches("serve").unwrap_or(&matches);
    let names = VARIABLES.iter().map(|variable| variable.name).chain([RECORD, RECORD_MAX_SIZE]);
    let flags =
        names.filter_map(|name| Some((name, serve.get_one::<OsString>(name)?.clone()))).collect::<BTreeMap<_, _>>();
    // No variable of ours has a name that is no text; its value may well be none, and is then to be refused.
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    Sources { flags, environment, file: read_env_file() }
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

/// The pairs of `.env`; a file that cannot be read is as good as none, but said.
fn read_env_file() -> BTreeMap<String, String> {
    let Ok(pairs) = dotenvy::from_path_iter(".env") else {
        return BTreeMap::new();
    };
    let tell_of = |error: &_| tell(&format_args!("chatapi: .env: {}", line_error(error)));
    pairs.filter_map(|pair| pair.inspect_err(tell_of).ok()).collect()
}

/// Says where the file is wrong without repeating what stands there.
fn line_error(error: &dotenvy::Error) -> &'static str {
    if matches!(error, dotenvy::Error::LineParse(..)) {
        "a line is not NAME=VALUE and was left out"
    } else {
        "it could not be read to its end"
    }
}
