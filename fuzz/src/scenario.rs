//! Whole scenarios of the core, decided by bytes: the generator of the simulation, with its checks.

use chatapi_sim::choices::Bytes;
use chatapi_sim::runner::{Options, run_generated};
use chatapi_sim::scenario::Generator;

/// Runs the scenario that `bytes` decide: three quarters of them what clients do and when the store works, the rest what
/// goes wrong.
///
/// # Panics
///
/// Where an invariant of the simulation is broken; the actions are told.
pub fn run(bytes: &[u8]) {
    let (workload, faults) = bytes.split_at(bytes.len() / 4 * 3);
    let (scenario, outcome) = run_generated(Generator::new(Bytes(workload), Bytes(faults)), Options::default());
    if let Some(violation) = outcome.violation {
        panic!("{violation}\n{:?}\n{:#?}", scenario.setup, scenario.actions);
    }
}
