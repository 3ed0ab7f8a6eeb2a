//! Values as they are written.

use std::net::SocketAddr;
use std::time::Duration;

use chatapi_core::AllowedOrigins;

pub(super) fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number >= 1)
}

pub(super) fn parse_origins(list: &str) -> AllowedOrigins {
    let origins: Vec<String> =
        list.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
    if origins.iter().any(|origin| origin == "*") { AllowedOrigins::Any } else { AllowedOrigins::Listed(origins) }
}

/// `:PORT` is every interface, of IPv6 and IPv4 where the system has both.
pub(super) fn parse_listen_addr(text: &str) -> Option<Vec<SocketAddr>> {
    if let Some(port) = text.strip_prefix(':') {
        return port.parse().ok().map(every_interface);
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(vec![SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))]);
    }
    text.parse().ok().map(|address| vec![address])
}

pub(super) fn every_interface(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0_u8; 4], port))]
}

/// A size in bytes: `65536`, `64KiB`, `64MiB`, `1GiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A Go-style duration: `500ms`, `30s`, `1h30m`. A bare number is none.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail.find(|character: char| character.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let unit_ms = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return None,
        };
        total_ms += number.parse::<f64>().ok()? * unit_ms;
        rest = tail;
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(total_ms / 1_000.0).ok().filter(|duration| duration.as_secs() < 1 << 32)
}

/// A duration after which something is done again and again: with none there would be time for nothing else.
pub(super) fn parse_interval(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|interval| !interval.is_zero())
}

pub(super) fn parse_boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A data source as the original took it: a path or `file:PATH`, and what follows a `?` are parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DataSource<'a> {
    pub(super) path: &'a str,
    /// Their names.
    pub(super) parameters: Vec<&'a str>,
}

/// An error is what stands there instead of a file.
pub(super) fn parse_data_source(text: &str) -> Result<DataSource<'_>, &'static str> {
    let text = text.strip_prefix("file:").unwrap_or(text);
    let (path, parameters) = text.split_once('?').unwrap_or((text, ""));
    let pairs = || parameters.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    if path == ":memory:" || pairs().any(|pair| matches!(pair, ("mode", "memory") | ("vfs", "memdb"))) {
        return Err("a database in memory");
    }
    if path.is_empty() {
        return Err("one without a path");
    }
    Ok(DataSource { path, parameters: pairs().map(|(name, _)| name).filter(|name| !name.is_empty()).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        for (text, expected_ms) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1.5s", Some(1_500)),
            ("1h30m", Some(5_400_000)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("1s ", None),
        ] {
            assert_eq!(parse_duration(text), expected_ms.map(Duration::from_millis), "{text:?}");
        }
    }
}
