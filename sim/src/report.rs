//! Many seeds, and what they came to.

use std::time::{Duration, Instant};

use crate::action::Scenario;
use crate::differential::{BEYOND_SCENARIOS, Differential, KINDS};
use crate::invariant::{Invariant, Violation};
use crate::probe::{Probe, Probes};
use crate::runner::{Options, run_scenario, run_seed};
use crate::sabotage::Sabotage;
use crate::shrink::shrink;
use crate::simulation::Outcome;

/// How many lines of its story are told of a run that fails.
const LAST_STEPS: usize = 50;

/// What a batch of seeds is to be.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Every so many-th seed runs twice, and both traces are compared.
    pub twice_every: u64,
    /// Every so many-th seed has SQLite beside the model.
    pub sqlite_every: u64,
    /// No further seed begins after so long.
    pub budget: Duration,
    /// Whether probes that were never reached are a failure.
    pub demands_probes: bool,
    /// Whether the actions of a seed that fails are shrunk.
    pub shrinks: bool,
}

/// Why a batch failed.
#[derive(Debug)]
pub enum BatchFailure {
    /// A seed broke a promise.
    Broken(Box<Broken>),
    /// Something that must be reached was not, or the batch could not run; in words.
    Incomplete(String),
}

/// A seed that broke a promise.
#[derive(Debug)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub violation: Violation,
    /// What is left of its actions.
    pub scenario: Scenario,
    /// How many actions it had.
    pub actions_before: usize,
    /// The end of the shrunk run's story; empty where only a second run, or SQLite, shows what is wrong.
    pub last_steps: Vec<String>,
    /// Whether it takes SQLite beside the model to show.
    pub with_sqlite: bool,
}

impl std::fmt::Display for BatchFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Incomplete(what) => f.write_str(what),
            Self::Broken(broken) => {
                writeln!(f, "seed {} broke {}", broken.seed, broken.violation)?;
                if !broken.last_steps.is_empty() {
                    writeln!(f, "\nthe last steps of the shrunk run:")?;
                }
                for line in &broken.last_steps {
                    writeln!(f, "{line}")?;
                }
                let count = broken.scenario.actions.len();
                writeln!(f, "\n{count} actions are left of {}:", broken.actions_before)?;
                writeln!(f, "{:?}", broken.scenario.setup)?;
                for same in broken.scenario.actions.chunk_by(|one, other| one == other) {
                    let times = if same.len() > 1 { format!("{} × ", same.len()) } else { String::new() };
                    writeln!(f, "  {times}{:?}", same[0])?;
                }
                let beside = if broken.with_sqlite { " --sqlite" } else { "" };
                write!(f, "\nthe whole run: cargo run --release -p chatapi-sim -- seed {} --trace{beside}", broken.seed)
            }
        }
    }
}

impl std::error::Error for BatchFailure {}

/// What a batch has done so far.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    twice: u64,
    with_sqlite: u64,
    with_crash: u64,
    crashes: u64,
    inputs: u64,
    simulated_us: u64,
    spent: Duration,
    probes: Probes,
    answered: std::collections::BTreeSet<&'static str>,
}

/// Runs a batch. Hands back what it did, in words.
///
/// # Errors
///
/// The first seed that breaks a promise, shrunk; or what was not reached.
pub fn run_batch(batch: Batch) -> Result<String, BatchFailure> {
    let mut sum = Sum::default();
    let started = Instant::now();
    for seed in batch.first..batch.first + batch.seeds {
        if started.elapsed() >= batch.budget {
            break;
        }
        run_one(seed, batch, &mut sum)?;
    }
    let told = tell(batch, &sum);
    let missed = sum.probes.missed();
    if batch.demands_probes && !missed.is_empty() {
        let names: Vec<&str> = missed.iter().map(|probe| probe.name()).collect();
        return Err(BatchFailure::Incomplete(format!("{told}\nnever reached: {}", names.join("; "))));
    }
    let demanded = KINDS.iter().filter(|kind| !BEYOND_SCENARIOS.contains(*kind));
    let unanswered: Vec<&&str> = demanded.filter(|kind| !sum.answered.contains(**kind)).collect();
    if batch.demands_probes && sum.with_sqlite > 0 && !unanswered.is_empty() {
        return Err(BatchFailure::Incomplete(format!("{told}\nSQLite was never asked: {unanswered:?}")));
    }
    Ok(told)
}

fn run_one(seed: u64, batch: Batch, sum: &mut Sum) -> Result<(), BatchFailure> {
    let started = Instant::now();
    let (scenario, outcome) = run_seed(seed, Options::default());
    sum.spent += started.elapsed();
    sum.seeds += 1;
    sum.inputs += outcome.inputs;
    sum.simulated_us += outcome.simulated;
    sum.crashes += outcome.crashes;
    sum.with_crash += u64::from(outcome.crashes > 1);
    sum.probes.add(&outcome.probes);
    if let Some(violation) = &outcome.violation {
        return Err(if batch.shrinks {
            explain(seed, &scenario, violation)
        } else {
            broken(seed, scenario.actions.len(), scenario.clone(), violation.clone())
        });
    }
    if seed.is_multiple_of(batch.twice_every.max(1)) {
        sum.twice += 1;
        check_again(seed, &outcome, None)?;
    }
    if seed % batch.sqlite_every.max(1) == 1 {
        sum.with_sqlite += 1;
        compare(seed, sum)?;
    }
    Ok(())
}

/// The same seed once more.
fn check_again(seed: u64, first: &Outcome, sabotage: Option<Sabotage>) -> Result<(), BatchFailure> {
    let (scenario, again) = run_seed(seed, Options { sabotage, ..Options::default() });
    if again.trace == first.trace {
        return Ok(());
    }
    let step = diverging_step(seed, sabotage);
    let violation = Violation::new(
        Invariant::Determinism,
        format!("the traces differ: {} and {}; the first step that does: {step}", first.trace, again.trace),
    );
    Err(BatchFailure::Broken(Box::new(Broken {
        seed,
        violation,
        actions_before: scenario.actions.len(),
        scenario,
        last_steps: Vec::new(),
        with_sqlite: false,
    })))
}

/// The first line in which the stories of two runs differ.
fn diverging_step(seed: u64, sabotage: Option<Sabotage>) -> String {
    let story = || run_seed(seed, Options { sabotage, story: true, ..Options::default() }).1.story;
    let (first, second) = (story(), story());
    let differing = first.iter().zip(&second).enumerate().find(|(_, (one, other))| one != other);
    match differing {
        Some((index, (one, other))) => format!("line {index} of the story\n  {one}\n  {other}"),
        None => "no line of the story, only bytes within one".to_owned(),
    }
}

fn compare(seed: u64, sum: &mut Sum) -> Result<(), BatchFailure> {
    let directory = tempfile::tempdir()
        .map_err(|error| BatchFailure::Incomplete(format!("no directory for SQLite can be made: {error}")))?;
    let differential = Differential::new(directory.path().join("sim.db"));
    let options = Options { differential: Some(differential), ..Options::default() };
    let (scenario, outcome) = run_seed(seed, options);
    sum.answered.extend(outcome.answered_by_sqlite);
    match outcome.violation {
        None => Ok(()),
        Some(violation) => Err(BatchFailure::Broken(Box::new(Broken {
            seed,
            violation,
            actions_before: scenario.actions.len(),
            scenario,
            last_steps: Vec::new(),
            with_sqlite: true,
        }))),
    }
}

/// A seed that broke a promise, with what is left of it after shrinking.
#[must_use]
pub fn explain(seed: u64, scenario: &Scenario, violation: &Violation) -> BatchFailure {
    let (shrunk, violation) = shrink(scenario, violation, None);
    broken(seed, scenario.actions.len(), shrunk, violation)
}

fn broken(seed: u64, actions_before: usize, scenario: Scenario, violation: Violation) -> BatchFailure {
    let story = run_scenario(&scenario, Options { story: true, ..Options::default() }).story;
    let last_steps = story.iter().skip(story.len().saturating_sub(LAST_STEPS)).cloned().collect();
    BatchFailure::Broken(Box::new(Broken { seed, violation, scenario, actions_before, last_steps, with_sqlite: false }))
}

fn tell(batch: Batch, sum: &Sum) -> String {
    let rate = sum.inputs as f64 / sum.spent.as_secs_f64().max(0.001);
    let mut lines = vec![
        format!(
            "seeds {} to {} ({}), {} inputs to the core ({rate:.0} a second on one core), {:.1} simulated hours",
            batch.first,
            batch.first + sum.seeds - 1,
            sum.seeds,
            sum.inputs,
            sum.simulated_us as f64 / 3_600_000_000.0
        ),
        format!(
            "{} % of the seeds with a crash besides the last ({} crashes); {} seeds ran twice and compared equal; {} had \
             SQLite beside the model",
            100 * sum.with_crash / sum.seeds.max(1),
            sum.crashes,
            sum.twice,
            sum.with_sqlite
        ),
        "\nprobes".to_owned(),
    ];
    lines.extend(Probe::ALL.iter().map(|probe| format!("  {:>8}  {}", sum.probes.count(*probe), probe.name())));
    lines.join("\n")
}

/// What became of a saboteur.
#[derive(Debug)]
pub struct Caught {
    /// Which.
    pub sabotage: Sabotage,
    /// How many seeds it took.
    pub seeds: u64,
    /// In how many of these another invariant was broken first: what is wrong in one way is wrong in several.
    pub by_others: u64,
}

/// Lets every saboteur loose on seed after seed, until the invariant it is named for catches it. The same seeds pass
/// without it.
///
/// # Errors
///
/// A saboteur that the invariant it is named for does not catch within `seeds_max` seeds.
pub fn run_saboteurs(first: u64, seeds_max: u64) -> Result<Vec<Caught>, BatchFailure> {
    let outcomes: Vec<_> = Sabotage::ALL.iter().map(|sabotage| catch(*sabotage, first, seeds_max)).collect();
    let failures: Vec<String> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(ToString::to_string).collect();
    if failures.is_empty() {
        return Ok(outcomes.into_iter().flatten().collect());
    }
    Err(BatchFailure::Incomplete(failures.join("\n")))
}

fn catch(sabotage: Sabotage, first: u64, seeds_max: u64) -> Result<Caught, BatchFailure> {
    let mut by_others = 0;
    for seed in first..first + seeds_max {
        let (_, outcome) = run_seed(seed, Options { sabotage: Some(sabotage), ..Options::default() });
        let violation = match outcome.violation {
            Some(violation) => Some(violation),
            None => match check_again(seed, &outcome, Some(sabotage)) {
                Err(BatchFailure::Broken(broken)) => Some(broken.violation),
                Err(failure) => return Err(failure),
                Ok(()) => None,
            },
        };
        let Some(violation) = violation else {
            continue;
        };
        if violation.invariant != Some(sabotage.caught_by()) {
            by_others += 1;
            continue;
        }
        for seed in first..=seed {
            let (scenario, outcome) = run_seed(seed, Options::default());
            if let Some(violation) = outcome.violation {
                return Err(explain(seed, &scenario, &violation));
            }
        }
        return Ok(Caught { sabotage, seeds: seed - first + 1, by_others });
    }
    let name = sabotage.name();
    let what = format!("{sabotage:?} ({name}) was not caught within {seeds_max} seeds, by others {by_others} times");
    Err(BatchFailure::Incomplete(what))
}

/// The table of saboteurs, in words.
#[must_use]
pub fn tell_saboteurs(caught: &[Caught]) -> String {
    let title = "saboteurs (each caught by the invariant it is named for; the same seeds pass without it)".to_owned();
    let lines = caught.iter().map(|Caught { sabotage, seeds, by_others }| {
        let invariant = sabotage.caught_by();
        let others = if *by_others > 0 { format!(" (in {by_others} another first)") } else { String::new() };
        format!("  {seeds:>4} seeds  {:<50} {:>2} {}{others}", sabotage.name(), invariant.number(), invariant.name())
    });
    std::iter::once(title).chain(lines).collect::<Vec<_>>().join("\n")
}
