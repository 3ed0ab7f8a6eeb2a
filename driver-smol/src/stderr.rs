//! What is said to whoever started the server.

use std::fmt::Display;
use std::io::Write as _;

/// Says a line on stderr, where anybody listens: a full disk or a terminal that went away must not end a server that is
/// well, as `eprintln!` would.
pub fn tell(line: &dyn Display) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
