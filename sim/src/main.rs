//! The command line of the simulation.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chatapi_sim::differential::Differential;
use chatapi_sim::report::{Batch, BatchFailure, explain, run_batch, run_saboteurs, tell_saboteurs};
use chatapi_sim::runner::{Options, run_seed};
use clap::{Parser, Subcommand};

/// Deterministic simulation of ChatAPI.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds: faults, then peace, and every promise checked all along.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Begin no further seed after so many seconds.
        #[arg(long, default_value_t = 3_600)]
        budget_secs: u64,
        /// Let probes that were not reached pass, and leave the saboteurs out: for short runs.
        #[arg(long)]
        quick: bool,
        /// Show the actions of a seed that fails as they are: shrinking takes thousands of runs.
        #[arg(long)]
        no_shrink: bool,
        /// Write the shrunk list of actions of a seed that fails to this file, to be kept among the tests.
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Let every saboteur loose, and see that the invariant it is named for catches it.
    Saboteurs {
        /// Give each at most so many seeds.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
    },
    /// Replay what `chatapi serve --record FILE` recorded, and compare every effect: exit code 1 at the first difference.
    Replay {
        /// The recording.
        file: PathBuf,
    },
    /// Run one seed.
    Seed {
        /// Which.
        seed: u64,
        /// Tell its story.
        #[arg(long)]
        trace: bool,
        /// Let SQLite carry out everything too.
        #[arg(long)]
        sqlite: bool,
    },
}

fn main() -> ExitCode {
    // A panic of the core's is told with the seed it came from.
    std::panic::set_hook(Box::new(|_| {}));
    let result = match Cli::parse().command {
        Command::Run { seeds, first, budget_secs, quick, no_shrink, keep } => {
            let batch = Batch {
                first,
                seeds,
                twice_every: 20,
                sqlite_every: 20,
                budget: Duration::from_secs(budget_secs),
                demands_probes: !quick,
                shrinks: !no_shrink,
            };
            run(batch, keep.as_deref())
        }
        Command::Saboteurs { seeds, first } => sabotage(first, seeds),
        Command::Replay { file } => chatapi_sim::replay::replay(&file).map_err(|failure| failure.to_string()),
        Command::Seed { seed, trace, sqlite } => run_alone(seed, trace, sqlite),
    };
    match result {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(batch: Batch, keep: Option<&Path>) -> Result<String, String> {
    let mut told = run_batch(batch).map_err(|failure| {
        if let (Some(path), BatchFailure::Broken(broken)) = (keep, &failure) {
            let text = serde_json::to_string(&broken.scenario).unwrap_or_default();
            if let Err(error) = std::fs::write(path, text) {
                return format!("{failure}\n{} cannot be written: {error}", path.display());
            }
        }
        failure.to_string()
    })?;
    if batch.demands_probes {
        told += "\n\n";
        told += &sabotage(batch.first, batch.seeds)?;
    }
    Ok(told)
}

fn sabotage(first: u64, seeds: u64) -> Result<String, String> {
    run_saboteurs(first, seeds).map(|caught| tell_saboteurs(&caught)).map_err(|failure| failure.to_string())
}

fn run_alone(seed: u64, trace: bool, sqlite: bool) -> Result<String, String> {
    let directory = tempfile::tempdir().map_err(|error| format!("no directory for SQLite can be made: {error}"))?;
    let differential = sqlite.then(|| Differential::new(directory.path().join("sim.db")));
    let (scenario, outcome) = run_seed(seed, Options { story: trace, differential, ..Options::default() });
    let story = outcome.story.join("\n");
    let told = format!(
        "{story}\nseed {seed}: {} actions, {} inputs, {:.1} simulated minutes, {} crashes, trace {}",
        scenario.actions.len(),
        outcome.inputs,
        outcome.simulated as f64 / 60_000_000.0,
        outcome.crashes,
        outcome.trace
    );
    match outcome.violation {
        None => Ok(told),
        Some(violation) if sqlite => Err(format!("{told}\n\nbroken: {violation}")),
        Some(violation) => Err(format!("{told}\n\n{}", explain(seed, &scenario, &violation))),
    }
}
