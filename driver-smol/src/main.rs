//! `chatapi`: the server.

use std::process::ExitCode;

use chatapi::settings::Settings;

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
    eprintln!("chatapi: {error}");
    ExitCode::FAILURE
}
