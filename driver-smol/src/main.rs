//! `chatapi`: the server.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody listens: see `stderr`")]

use std::error::Error;
use std::process::ExitCode;

use chatapi::settings::Settings;
use chatapi::stderr::tell;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format_args!("chatapi: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::read(&chatapi::cli::read()?)?;
    Ok(chatapi::serve(settings)?)
}
