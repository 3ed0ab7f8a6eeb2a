//! `chatapi`: the server.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody listens: see `stderr`")]

use std::process::ExitCode;

use chatapi::settings::Settings;
use chatapi::stderr::tell;

fn main() -> ExitCode {
    let settings = match Settings::read(&chatapi::cli::read()) {
        Ok(settings) => settings,
        Err(error) => return fail(&error),
    };
    match chatapi::serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    tell(&format_args!("chatapi: {error}"));
    ExitCode::FAILURE
}
