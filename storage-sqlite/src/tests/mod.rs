//! What only this implementation promises; the contract itself is tested in `chatapi-sim`.

mod faults;
mod full_disk;
mod lifecycle;
mod migrating;
mod opening;
mod plans;
mod sweeping;
mod writing;

pub(crate) use faults::Faults;
