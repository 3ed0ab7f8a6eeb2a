//! Replays a recording that `chatapi serve --record` made.

use std::any::Any;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chatapi_core::recording::{Line, Replay, ReplayError, read_line};

/// Why a recording was not replayed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailure {
    /// The file does not open.
    #[error("{path} does not open: {error}", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file cannot be read to its end.
    #[error("reading failed: {0}")]
    Read(#[from] io::Error),
    /// It is no recording, or turns out otherwise.
    #[error(transparent)]
    Recording(#[from] ReplayError),
    /// The core broke an invariant of its own, which it did not when it was recorded.
    #[error("line {line} breaks the core, which it did not when it was recorded: {complaint}\n  {text}")]
    Broken {
        /// Counted from 1.
        line: u64,
        /// What the core said.
        complaint: String,
        /// The line, cut where it is long.
        text: String,
    },
}

/// Replays the recording at `path` and says what was in it.
///
/// # Errors
///
/// At the first step that turns out otherwise than recorded, with all there is to know about it; and where there is
/// nothing to replay.
pub fn replay(path: &Path) -> Result<String, ReplayFailure> {
    let file = File::open(path).map_err(|error| ReplayFailure::Open { path: path.to_owned(), error })?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut replay = Replay::new();
    let mut text = Vec::new();
    loop {
        text.clear();
        file.read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            return Ok(replay.finish(text.len())?.to_string());
        }
        match catch_unwind(AssertUnwindSafe(|| replay.line(&text))) {
            Ok(replayed) => replayed?,
            Err(panic) => return broken(replay, &text, &*panic),
        }
    }
}

/// The core broke: that is what the recording was wanted for if it did so then, too.
fn broken(replay: Replay, text: &[u8], panic: &(dyn Any + Send)) -> Result<String, ReplayFailure> {
    let complaint = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default();
    let line = replay.lines();
    if matches!(read_line(text), Ok(Line::Step(step)) if step.effects.is_none()) {
        let summary = replay.finish(0)?;
        return Ok(format!("{summary}\nline {line} breaks the core, as it did when it was recorded: {complaint}"));
    }
    let text = String::from_utf8_lossy(text).chars().take(CHARACTERS_SHOWN).collect();
    Err(ReplayFailure::Broken { line, complaint, text })
}

/// How much of a line is shown.
const CHARACTERS_SHOWN: usize = 2_000;
