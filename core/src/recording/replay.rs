//! A recorded run, once more.

use std::fmt;

use super::{EffectsDigest, End, Header, Line, ReadLineError, Step, append, read_line};
use crate::core::Core;
use crate::effect::Effect;
use crate::input::Input;
use crate::time::{Micros, MonoMicros, Now};

/// Feeds a recording, line by line, to a core of its own, and compares what comes out.
///
/// It does no I/O: whoever reads the file splits it into lines.
#[derive(Debug, Default)]
pub struct Replay {
    run: Option<Run>,
    lines: u64,
}

#[derive(Debug)]
struct Run {
    core: Core,
    summary: ReplaySummary,
}

/// What was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplaySummary {
    /// The version that was recorded.
    pub version: String,
    /// When the run began.
    pub started: Now,
    /// How many inputs were handled.
    pub steps: u64,
    /// How many effects came out as recorded.
    pub effects: u64,
    /// From the start to the last input, by the monotonic clock of the recorded process.
    pub span: Micros,
    /// Why the recording ends; `None` where the process was killed, or is still at it.
    pub end: Option<End>,
    /// How many bytes of a line that was not written to its end follow the last whole one.
    pub cut_bytes: usize,
}

/// Why a recording was not replayed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is not even a whole first line.
    #[error("this is no recording: it has no whole line")]
    Empty,
    /// The first line is no header.
    #[error("this is no recording: its first line is no header")]
    NoHeader,
    /// A line cannot be read.
    #[error("line {line}: {error}")]
    Unreadable {
        /// Counted from 1.
        line: u64,
        /// Why.
        error: ReadLineError,
    },
    /// A line stands where it cannot: a second header, or anything behind the end.
    #[error("line {line}: nothing of this kind may stand here")]
    Misplaced {
        /// Counted from 1.
        line: u64,
    },
    /// The core did something else than when it was recorded.
    #[error("{0}")]
    Diverged(Box<Divergence>),
}

/// The first step at which the core did something else than when it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergence {
    /// Where it stands in the recording, counted from 1.
    pub line: u64,
    /// When the run began.
    pub started: Now,
    /// The time of the step.
    pub now: Now,
    /// What the core was given; `None` at its start.
    pub input: Option<Input>,
    /// The digest of the effects that were recorded; `None` where the core had broken an invariant of its own.
    pub recorded: Option<EffectsDigest>,
    /// The effects that came out instead.
    pub effects: Vec<Effect>,
    /// The version that was recorded.
    pub version: String,
}

impl Replay {
    /// A replay that waits for the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replays the next line, given with or without its end.
    ///
    /// # Errors
    ///
    /// At the first line that cannot be replayed, or turns out otherwise than recorded. Nothing may follow.
    ///
    /// # Panics
    ///
    /// Where the core breaks an invariant of its own.
    pub fn line(&mut self, text: &[u8]) -> Result<(), ReplayError> {
        self.lines += 1;
        let line = self.lines;
        let read = read_line(text).map_err(|error| ReplayError::Unreadable { line, error })?;
        match (&mut self.run, read) {
            (None, Line::Header(header)) => self.run = Some(Run::start(header)?),
            (None, Line::Step(_) | Line::End(_)) => return Err(ReplayError::NoHeader),
            (Some(run), Line::Step(step)) if run.summary.end.is_none() => run.step(line, step)?,
            (Some(run), Line::End(end)) if run.summary.end.is_none() => run.summary.end = Some(end),
            (Some(_), Line::Header(_) | Line::Step(_) | Line::End(_)) => return Err(ReplayError::Misplaced { line }),
        }
        Ok(())
    }

    /// How many lines were looked at.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// What was replayed. `cut_bytes` is the length of what follows the last line and is none.
    ///
    /// # Errors
    ///
    /// If there was no line at all.
    pub fn finish(self, cut_bytes: usize) -> Result<ReplaySummary, ReplayError> {
        let run = self.run.ok_or(ReplayError::Empty)?;
        Ok(ReplaySummary { cut_bytes, ..run.summary })
    }
}

impl Run {
    fn start(header: Header) -> Result<Self, ReplayError> {
        let Header { format: _, version, config, seed, now, effects: recorded } = header;
        let summary =
            ReplaySummary { version, started: now, steps: 0, effects: 0, span: Micros(0), end: None, cut_bytes: 0 };
        let mut run = Self { core: Core::new(config, seed, now), summary };
        run.compare(1, now, None, Some(recorded))?;
        Ok(run)
    }

    fn step(&mut self, line: u64, step: Step) -> Result<(), ReplayError> {
        let Step { now, input, effects: recorded } = step;
        self.core.handle(now, input.clone());
        self.summary.steps += 1;
        self.summary.span = self.summary.span.max(now.mono - self.summary.started.mono);
        self.compare(line, now, Some(input), recorded)
    }

    fn compare(
        &mut self,
        line: u64,
        now: Now,
        input: Option<Input>,
        recorded: Option<EffectsDigest>,
    ) -> Result<(), ReplayError> {
        let effects: Vec<Effect> = std::iter::from_fn(|| self.core.poll_effect()).collect();
        if recorded == Some(EffectsDigest::of(&effects)) {
            self.summary.effects += effects.len() as u64;
            return Ok(());
        }
        let ReplaySummary { started, version, .. } = self.summary.clone();
        Err(ReplayError::Diverged(Box::new(Divergence { line, started, now, input, recorded, effects, version })))
    }
}

/// A headline, and what there is to know below it, for people.
impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, started, now, input, recorded, effects, version } = self;
        let after = Elapsed { since: started.mono, at: now.mono };
        write!(f, "line {line} turns out otherwise than recorded, {after} after the start, at {}", now.wall)?;
        match input {
            Some(input) => write!(f, "\n  input:    {}", Readable(input))?,
            None => f.write_str("\n  the start of the core")?,
        }
        match recorded {
            Some(digest) => write!(f, "\n  recorded: effects with the digest {digest}")?,
            None => f.write_str("\n  recorded: the core broke an invariant of its own")?,
        }
        let digest = EffectsDigest::of(effects);
        write!(f, "\n  now:      {} effects with the digest {digest}", effects.len())?;
        for (number, effect) in (1..).zip(effects.iter().take(EFFECTS_SHOWN)) {
            write!(f, "\n    {number}. {}", Readable(effect))?;
        }
        if effects.len() > EFFECTS_SHOWN {
            write!(f, "\n    and {} more", effects.len() - EFFECTS_SHOWN)?;
        }
        if version != env!("CARGO_PKG_VERSION") {
            write!(f, "\n  recorded by version {version}, replayed by {}", env!("CARGO_PKG_VERSION"))?;
        }
        Ok(())
    }
}

/// How many effects of a step that diverges are shown.
const EFFECTS_SHOWN: usize = 50;
/// How many characters of each are shown.
const CHARACTERS_SHOWN: usize = 2_000;

/// A value as the text of a recording has it, cut where it is long.
struct Readable<'a, T>(&'a T);

impl<T: serde::Serialize> fmt::Display for Readable<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        append(&mut text, self.0);
        let text = String::from_utf8_lossy(&text);
        match text.char_indices().nth(CHARACTERS_SHOWN) {
            Some((end, _)) => write!(f, "{}… ({} bytes in all)", &text[..end], text.len()),
            None => f.write_str(&text),
        }
    }
}

/// A span in seconds.
struct Elapsed {
    since: MonoMicros,
    at: MonoMicros,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Micros(micros) = self.at - self.since;
        write!(f, "{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
    }
}

/// One paragraph for people.
impl fmt::Display for ReplaySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, started, steps, effects, span, end, cut_bytes } = self;
        let over = Elapsed { since: MonoMicros(0), at: MonoMicros(span.0) };
        write!(f, "OK: {steps} steps over {over} from {}, recorded by version {version}: ", started.wall)?;
        write!(f, "all {effects} effects as recorded")?;
        match end {
            Some(End::Shutdown) => f.write_str("; it ends with the shutdown of the process"),
            Some(End::SizeLimit) => f.write_str("; it ends where the file had its full size, the process went on"),
            None if *cut_bytes > 0 => write!(f, "; its last line is cut: {cut_bytes} bytes of it were left out"),
            None => f.write_str("; it ends without a last word, as that of a process that was killed"),
        }
    }
}
