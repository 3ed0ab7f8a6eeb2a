//! Recordings: a run as text, one JSON object a line, from which it can be replayed bit for bit.
//!
//! The first line tells what the core was made of, then comes one line for each input, in the order in which the core
//! handled them, with its time and a digest of the effects it caused. The last line says why the recording ended; a
//! process that was killed leaves none.
//!
//! ```json
//! {"header":{"format":1,"version":"0.1.0","config":{…},"seed":"07…","now":{"mono":5,"wall":1765627800000},"effects":"…"}}
//! {"step":{"now":{"mono":81,"wall":1765627800000},"input":{"Stored":{…}},"effects":"e3b0c44298fc1c149afbf4c8996fb924"}}
//! {"end":"shutdown"}
//! ```
//!
//! What clients say and who they are stands there as it is; what they prove themselves by does not. See [`Redactor`].
//!
//! This module makes and reads lines, and replays them; drivers write files and read them.

mod confidential;
mod redactor;
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::effect::Effect;
use crate::input::Input;
use crate::time::Now;

pub use redactor::{RecordedEffects, RecordedInput, Redactor};
pub use replay::{Divergence, Replay, ReplayError, ReplaySummary};

/// The version of the format. It changes with the lines' own shape; inputs and effects are what the crate's version
/// makes of them.
pub const FORMAT: u32 = 1;

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The first.
    Header(Header),
    /// An input.
    Step(Step),
    /// The last.
    End(End),
}

/// What the core was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] when it was recorded.
    pub format: u32,
    /// The version of the core that ran.
    pub version: String,
    /// Its configuration.
    pub config: Config,
    /// Its seed. Nothing secret is drawn from it.
    #[serde(with = "crate::hex")]
    pub seed: [u8; 32],
    /// When it began.
    pub now: Now,
    /// Of [`crate::Core::new`].
    pub effects: EffectsDigest,
}

/// An input, and what it caused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub now: Now,
    /// What happened, redacted.
    pub input: Input,
    /// What it caused; `None` where the core broke an invariant of its own, and the process ended.
    pub effects: Option<EffectsDigest>,
}

/// Why a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The process ended in good order.
    Shutdown,
    /// The file has reached the size it may have. The process went on.
    SizeLimit,
}

/// Stands for the effects of an input: half of the SHA-256 of their text, redacted.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectsDigest(#[serde(with = "crate::hex")] [u8; 16]);

impl EffectsDigest {
    /// Digests effects, as they are.
    #[must_use]
    pub fn of(effects: &[Effect]) -> Self {
        let mut text = Vec::with_capacity(512 * effects.len());
        for effect in effects {
            match effect {
                // Frames are JSON text already: to put them into strings would cost more than all the rest.
                Effect::Send { conns, frame } => {
                    append(&mut text, conns);
                    text.extend_from_slice(frame.as_bytes());
                }
                Effect::Store { .. }
                | Effect::Respond { .. }
                | Effect::Accept { .. }
                | Effect::Ping { .. }
                | Effect::Close { .. }
                | Effect::Report(_)
                | Effect::Stop => append(&mut text, effect),
            }
            text.push(b'\n');
        }
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(&text)[..16]);
        Self(half)
    }
}

impl fmt::Display for EffectsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

impl fmt::Debug for EffectsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EffectsDigest({self})")
    }
}

/// The first line.
#[must_use]
pub fn header(config: &Config, seed: [u8; 32], now: Now, effects: &RecordedEffects) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let header = Header { format: FORMAT, version, config: config.clone(), seed, now, effects: effects.digest() };
    whole_line(&Line::Header(header))
}

/// The line of an input; `effects` is `None` where the core broke an invariant of its own over it.
#[must_use]
pub fn step(now: Now, input: &RecordedInput, effects: Option<&RecordedEffects>) -> Vec<u8> {
    // The input is text already: made, as it may be long, before it was known when the core would handle it.
    let mut text = Vec::with_capacity(input.size_bytes() + 160);
    text.extend_from_slice(br#"{"step":{"now":"#);
    append(&mut text, &now);
    text.extend_from_slice(br#","input":"#);
    text.extend_from_slice(input.as_bytes());
    text.extend_from_slice(br#","effects":"#);
    append(&mut text, &effects.map(RecordedEffects::digest));
    text.extend_from_slice(b"}}\n");
    text
}

/// The last line.
#[must_use]
pub fn end(end: End) -> Vec<u8> {
    whole_line(&Line::End(end))
}

/// Reads a line, with or without its end.
///
/// # Errors
///
/// Where it is none of this version's.
pub fn read_line(text: &[u8]) -> Result<Line, ReadLineError> {
    serde_json::from_slice(text).map_err(|error| {
        let format = serde_json::from_slice(text).map(|Probe { header }| header.format);
        match format {
            Ok(format) if format != FORMAT => ReadLineError::Format(format),
            Ok(_) | Err(_) => ReadLineError::Line(error),
        }
    })
}

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadLineError {
    /// The first line of another version.
    #[error("the recording has format {0}, and this version reads format {FORMAT}")]
    Format(u32),
    /// Anything else.
    #[error("this is no line of a recording: {0}")]
    Line(serde_json::Error),
}

/// As much of a header as every version has.
#[derive(Deserialize)]
struct Probe {
    header: ProbedHeader,
}

#[derive(Deserialize)]
struct ProbedHeader {
    format: u32,
}

fn whole_line(line: &Line) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    append(&mut text, line);
    text.push(b'\n');
    text
}

fn append(text: &mut Vec<u8>, value: &impl Serialize) {
    let start = text.len();
    // Writing these types into memory cannot fail; if it did, replay would stop at this line.
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
}
