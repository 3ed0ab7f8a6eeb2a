//! Runs of seeds, and of lists of actions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::action::{Action, Scenario};
use crate::choices::Choices;
use crate::differential::Differential;
use crate::invariant::{Checked, Violation};
use crate::sabotage::Sabotage;
use crate::scenario::Generator;
use crate::simulation::{Outcome, Simulation};

/// How a run is looked at.
#[derive(Debug, Default)]
pub struct Options {
    /// Who makes a correct core look buggy.
    pub sabotage: Option<Sabotage>,
    /// Whether its story is told.
    pub story: bool,
    /// SQLite beside the model.
    pub differential: Option<Differential>,
}

/// Runs a seed. Hands back the actions that it came to, with what became of them.
#[must_use]
pub fn run_seed(seed: u64, options: Options) -> (Scenario, Outcome) {
    run_generated(Generator::of_seed(seed), options)
}

/// Runs what a generator draws.
#[must_use]
pub fn run_generated<C: Choices>(mut generator: Generator<C>, options: Options) -> (Scenario, Outcome) {
    let setup = generator.setup().clone();
    let mut world = world(&setup, options);
    let mut actions: Vec<Action> = Vec::new();
    let result = guarded(&mut world, |world| {
        world.begin()?;
        while let Some(action) = generator.next_action(world) {
            actions.push(action.clone());
            world.apply(&action)?;
        }
        world.make_peace()
    });
    (Scenario { setup, actions }, world.outcome(result))
}

/// Runs a list of actions.
#[must_use]
pub fn run_scenario(scenario: &Scenario, options: Options) -> Outcome {
    let mut world = world(&scenario.setup, options);
    let result = guarded(&mut world, |world| world.run(scenario));
    world.outcome(result)
}

fn world(setup: &crate::action::Setup, options: Options) -> Simulation {
    let mut world = Simulation::new(setup);
    if options.story {
        world.tell_story();
    }
    if let Some(kind) = options.sabotage {
        world.sabotage(kind);
    }
    if let Some(differential) = options.differential {
        world.compare_with_sqlite(differential);
    }
    world
}

/// A panic of the core's is a finding too.
fn guarded(world: &mut Simulation, run: impl FnOnce(&mut Simulation) -> Checked) -> Checked {
    catch_unwind(AssertUnwindSafe(|| run(world))).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "with something that is no text".to_owned());
        Err(Violation { invariant: None, what })
    })
}
