//! What can go wrong with a run, as opposed to what a load counts as an error of the server.

use std::io;

/// A run that could not be carried through: its figures mean nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// An answer of the server was no JSON, or not the JSON that was expected.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Anything else, said in words.
    #[error("{0}")]
    Failed(String),
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// The result of everything here that can fail.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Fails with a message in words.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Failed(message.into()))
}

/// The first bytes of an answer, for a message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}
