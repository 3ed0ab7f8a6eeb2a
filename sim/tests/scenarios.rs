//! The simulation under the test runner: some seeds, some shrinking, and every list of actions that once broke a promise.

use std::path::PathBuf;
use std::time::Duration;

use chatapi_sim::action::Scenario;
use chatapi_sim::choices::Numbers;
use chatapi_sim::report::{Batch, run_batch};
use chatapi_sim::runner::{Options, run_generated, run_scenario, run_seed};
use chatapi_sim::sabotage::Sabotage;
use chatapi_sim::scenario::Generator;
use chatapi_sim::shrink::shrink;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[test]
fn some_seeds_keep_every_promise() {
    let batch = Batch {
        first: 1,
        seeds: 20,
        twice_every: 7,
        sqlite_every: 7,
        budget: Duration::from_secs(600),
        demands_probes: false,
        shrinks: true,
    };
    if let Err(failure) = run_batch(batch) {
        panic!("{failure}");
    }
}

#[test]
fn scenarios_that_shrink_keep_every_promise() {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let numbers = prop::collection::vec(any::<u64>(), 50..600);
    let outcome = TestRunner::new(config).run(&(numbers.clone(), numbers), |(workload, faults)| {
        let generator = Generator::new(Numbers::new(workload), Numbers::new(faults));
        let (scenario, outcome) = run_generated(generator, Options::default());
        prop_assert!(outcome.violation.is_none(), "{:?} broke {:?}", scenario.actions, outcome.violation);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn a_failure_is_shrunk_to_a_few_actions_that_break_the_same_promise() {
    let sabotage = Some(Sabotage::SkippedMessage);
    let (scenario, outcome) = run_seed(1, Options { sabotage, ..Options::default() });
    let Some(violation) = outcome.violation else {
        panic!("a message that is left out is noticed");
    };
    let (shrunk, same) = shrink(&scenario, &violation, sabotage);
    assert_eq!(same.invariant, violation.invariant);
    assert!(shrunk.actions.len() <= 20, "{:?}", shrunk.actions);
    assert!(run_scenario(&shrunk, Options::default()).violation.is_none(), "the core itself keeps it");
}

/// Lists of actions that broke a promise once, each named for what went wrong. Seeds rot when the generator changes;
/// these do not.
#[test]
fn what_was_broken_once_holds() {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kept");
    let mut names: Vec<PathBuf> = match std::fs::read_dir(&kept) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => panic!("{}: {error}", kept.display()),
    };
    names.sort();
    assert!(!names.is_empty());
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let scenario: Scenario =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let outcome = run_scenario(&scenario, Options::default());
        assert!(outcome.violation.is_none(), "{}: {:?}", path.display(), outcome.violation);
    }
}
