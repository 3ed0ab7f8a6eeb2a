//! What only this implementation promises; the contract itself is tested in `chatapi-sim`.

mod faults;
mod opening;
mod writing;

pub(crate) use faults::Faults;
