//! Makes a failing list of actions short: parts are taken out for as long as what is left breaks the same promise.

use crate::action::{Action, Scenario};
use crate::invariant::Violation;
use crate::runner::{Options, run_scenario};
use crate::sabotage::Sabotage;

/// At most so many runs are spent on it.
const RUNS_MAX: usize = 3_000;

/// The shortest list found that still breaks the invariant of `violation`, with what it breaks; under the same saboteur, if
/// there was one.
#[must_use]
pub fn shrink(scenario: &Scenario, violation: &Violation, sabotage: Option<Sabotage>) -> (Scenario, Violation) {
    let mut runs = 0;
    let mut found = (scenario.clone(), violation.clone());
    let mut fails = |actions: &[Action]| -> Option<Violation> {
        runs += 1;
        if runs > RUNS_MAX {
            return None;
        }
        let shorter = Scenario { setup: scenario.setup.clone(), actions: actions.to_vec() };
        let outcome = run_scenario(&shorter, Options { sabotage, ..Options::default() });
        outcome.violation.filter(|other| other.invariant == violation.invariant)
    };
    let mut chunk = found.0.actions.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut is_shorter = false;
        while at < found.0.actions.len() {
            let mut actions = found.0.actions.clone();
            actions.drain(at..(at + chunk).min(actions.len()));
            match fails(&actions) {
                Some(violation) => {
                    found = (Scenario { actions, ..found.0 }, violation);
                    is_shorter = true;
                }
                None => at += chunk,
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !is_shorter {
            return found;
        }
    }
}
