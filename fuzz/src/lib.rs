//! Fuzz targets, as plain functions: libFuzzer calls them by way of `fuzz_targets/`, and `tests/replay.rs` calls them
//! with every file of `corpus/` and `regressions/`, without libFuzzer.
//!
//! | target | what it feeds | what must hold |
//! | --- | --- | --- |
//! | [`rest_reader`] | a stream of HTTP/1.x, cut into packets | the packets make no difference, nothing beyond the limits passes, and another parser agrees |
//! | [`request_parsing`] | the parts of a request | the call is within its limits, the answer an envelope |
//! | [`client_frames`] | the text of a WebSocket frame | another reading of it comes to the same command, in every form |
//! | [`migrations`] | a damaged database | it opens or is refused with a reason, and the lock is let go |
//! | [`scenario`] | decisions: who does what to the whole core, what goes wrong | every invariant of the simulation |

pub mod client_frames;
pub mod migrations;
pub mod request_parsing;
pub mod rest_reader;
pub mod scenario;

mod json;

/// What runs one input; it panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Every target, under the name of its corpus.
pub const TARGETS: [(&str, Target); 5] = [
    ("rest_reader", rest_reader::run),
    ("request_parsing", request_parsing::run),
    ("client_frames", client_frames::run),
    ("migrations", migrations::run),
    ("scenario", scenario::run),
];
