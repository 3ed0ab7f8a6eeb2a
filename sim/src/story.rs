//! A run as a timeline that a person can read: who did what, and what the core answered.

use chatapi_core::Effect;

/// Lines with their times.
#[derive(Debug, Default)]
pub(crate) struct Story {
    lines: Vec<String>,
}

impl Story {
    /// Adds a line at a moment in microseconds.
    pub(crate) fn line(&mut self, at: u64, line: String) {
        self.lines.push(format!("{:>12.6} {line}", at as f64 / 1_000_000.0));
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}

/// What the core wants done, in a line.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Store { op, request } => format!("    store {}: {}", op.0, cut(&format!("{request:?}"))),
        Effect::Respond { request, answer } => {
            let answer = match &answer.result {
                Ok(success) => format!("{success:?}"),
                Err(error) => format!("{} {}", error.code.status(), error.message),
            };
            format!("    answer {}: {}", request.0, cut(&answer))
        }
        Effect::Accept { request, conn, .. } => format!("    accept {} as conn {}", request.0, conn.0),
        Effect::Send { conns, frame } => {
            let conns: Vec<String> = conns.iter().map(|conn| conn.0.to_string()).collect();
            format!("    send to {}: {}", conns.join(" "), cut(&String::from_utf8_lossy(frame.as_bytes())))
        }
        Effect::Ping { conns } => format!("    ping {conns:?}"),
        Effect::Close { conn, reason } => format!("    close {}: {} {}", conn.0, reason.code(), reason.text()),
        Effect::Report(event) => format!("    report {event:?}"),
        Effect::Stop => "    stop".to_owned(),
    }
}

/// Long enough to see what it is.
fn cut(text: &str) -> String {
    const LENGTH: usize = 220;
    if text.len() <= LENGTH {
        return text.to_owned();
    }
    format!("{}… ({} bytes)", text.chars().take(LENGTH).collect::<String>(), text.len())
}
