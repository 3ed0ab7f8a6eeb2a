//! `chatapi-sim`: runs of the core without a server around it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs of ChatAPI's core without a server around it
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay what `chatapi serve --record FILE` recorded, and compare every effect; exit code 1 at the first difference
    Replay {
        /// The recording
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Replay { file } => match chatapi_sim::replay::replay(&file) {
            Ok(summary) => {
                println!("{summary}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                eprintln!("chatapi-sim: {failure}");
                ExitCode::FAILURE
            }
        },
    }
}
