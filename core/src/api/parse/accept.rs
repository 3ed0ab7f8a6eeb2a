//! `Accept` (RFC 9110, section 12.5.1), as far as `GET /metrics` depends on it.

use crate::api::encode::MetricsFormat;

/// The format that a caller prefers. Where it likes several alike, one that it names comes before one that it only takes,
/// and JSON before the others: what browsers and most clients send by themselves is no wish for another format.
pub(super) fn metrics_format<'a>(values: impl Iterator<Item = &'a [u8]>) -> MetricsFormat {
    let ranges: Vec<Range<'_>> =
        values.flat_map(|value| split(value, b',')).filter_map(|item| Range::read(item.trim_ascii())).collect();
    let mut best = (MetricsFormat::Json, Preference::default());
    for format in [MetricsFormat::Json, MetricsFormat::OpenMetrics, MetricsFormat::Text] {
        let preference = preference(&ranges, format);
        if preference > best.1 {
            best = (format, preference);
        }
    }
    best.0
}

/// How much a caller likes a format; the more, the greater. The default is: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Preference {
    /// Thousandths.
    quality: u16,
    is_named: bool,
}

/// The quality of the most specific range that a format lies in.
fn preference(ranges: &[Range<'_>], format: MetricsFormat) -> Preference {
    let fits = ranges.iter().filter_map(|range| Some((range.specificity(format)?, range.quality)));
    match fits.max() {
        Some((specificity, quality)) if quality > 0 => {
            Preference { quality, is_named: specificity >= Specificity::Named }
        }
        Some(_) | None => Preference::default(),
    }
}

/// How closely a media range describes what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Anything,
    Type,
    Named,
    NamedWithVersion,
}

/// One element of `Accept`.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    version: Option<&'a [u8]>,
    /// Thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` where it cannot be read: the others count all the same.
    fn read(item: &'a [u8]) -> Option<Self> {
        let mut parts = split(item, b';').map(<[u8]>::trim_ascii);
        let name = parts.next()?;
        let slash = name.iter().position(|byte| *byte == b'/')?;
        let (kind, subtype) = (name.get(..slash)?, name.get(slash + 1..)?);
        let mut range = Self { kind, subtype, version: None, quality: 1_000 };
        for parameter in parts {
            let Some(equals) = parameter.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (name, value) = (parameter.get(..equals)?.trim_ascii(), parameter.get(equals + 1..)?.trim_ascii());
            if name.eq_ignore_ascii_case(b"q") {
                range.quality = quality(value)?;
            } else if name.eq_ignore_ascii_case(b"version") {
                range.version = Some(unquoted(value));
            }
        }
        Some(range)
    }

    /// How closely it describes `format`; `None` where it does not.
    fn specificity(&self, format: MetricsFormat) -> Option<Specificity> {
        let (kind, subtype, version) = match format {
            MetricsFormat::Json => ("application", "json", None),
            MetricsFormat::Text => ("text", "plain", Some(MetricsFormat::TEXT_VERSION)),
            MetricsFormat::OpenMetrics => {
                ("application", "openmetrics-text", Some(MetricsFormat::OPEN_METRICS_VERSION))
            }
        };
        if self.kind == b"*" && self.subtype == b"*" {
            return Some(Specificity::Anything);
        }
        if !self.kind.eq_ignore_ascii_case(kind.as_bytes()) {
            return None;
        }
        if self.subtype == b"*" {
            return Some(Specificity::Type);
        }
        if !self.subtype.eq_ignore_ascii_case(subtype.as_bytes()) {
            return None;
        }
        match (self.version, version) {
            (None, _) => Some(Specificity::Named),
            (Some(wanted), Some(ours)) => (wanted == ours.as_bytes()).then_some(Specificity::NamedWithVersion),
            (Some(_), None) => Some(Specificity::Named),
        }
    }
}

/// `0`, `0.5`, `1.000`: at most three decimals, in thousandths (RFC 9110, section 12.4.2).
fn quality(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] | [whole, b'.'] => (*whole, &[][..]),
        [whole, b'.', decimals @ ..] => (*whole, decimals),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(u16::from(whole - b'0'), |sum, place| {
        sum * 10 + decimals.get(place).map_or(0, |digit| u16::from(digit - b'0'))
    });
    (thousandths <= 1_000).then_some(thousandths)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The parts between separators that stand outside of quotes.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |&byte| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => is_escaped = true,
            byte if byte == separator => return !is_quoted,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_json_unless_another_is_asked_for() {
        use MetricsFormat::{Json, OpenMetrics, Text};
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        let prometheus_2_old = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, format) in [
            ("", Json),
            ("*/*", Json),
            ("application/json", Json),
            (browser, Json),
            ("application/json, text/plain, */*", Json),
            ("text/html", Json),
            ("image/png, nonsense, /, ;;, =", Json),
            ("text/plain", Text),
            ("TEXT/Plain; charset=utf-8", Text),
            ("text/plain;version=0.0.4", Text),
            ("text/plain;version=\"0.0.4\"", Text),
            ("text/plain;version=1.0.0", Json),
            ("text/*", Text),
            ("text/plain, */*", Text),
            ("text/plain;q=0.5, application/json;q=0.4", Text),
            ("text/plain;q=0.4, application/json;q=0.5", Json),
            ("text/plain;q=0.5, */*", Json),
            ("text/plain;q=0", Json),
            ("text/plain;q=0.000, */*;q=0.1", Json),
            ("text/plain;q=2, application/json;q=0.1", Json),
            ("text/plain;q=0.0001, application/json;q=0.1", Json),
            ("text/plain;a=\"b,c;q=0\";q=0.9", Text),
            ("text/plain; q = 0.9 , application/json;q=0.8", Text),
            ("application/json;q=0, */*", OpenMetrics),
            ("application/*", Json),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Json),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("application/openmetrics-text;q=0.1, text/plain;q=0.2", Text),
            (prometheus_2, OpenMetrics),
            (prometheus_2_old, Text),
            (prometheus_3, OpenMetrics),
        ] {
            assert_eq!(metrics_format([accept.as_bytes()].into_iter()), format, "{accept}");
        }
    }

    #[test]
    fn several_lines_are_one_list_and_none_is_json() {
        let lines = [b"application/json;q=0.2".as_slice(), b"text/plain;q=0.3"];
        assert_eq!(metrics_format(lines.into_iter()), MetricsFormat::Text);
        assert_eq!(metrics_format([].into_iter()), MetricsFormat::Json);
    }

    #[test]
    fn a_quality_has_three_decimals_at_the_most_and_is_one_at_the_most() {
        for (text, thousandths) in [
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.1", Some(100)),
            ("0.05", Some(50)),
            ("0.123", Some(123)),
            ("1", Some(1_000)),
            ("1.000", Some(1_000)),
            ("1.001", None),
            ("0.1234", None),
            ("", None),
            (".5", None),
            ("2", None),
            ("-0", None),
            ("0.x", None),
            ("00.1", None),
        ] {
            assert_eq!(quality(text.as_bytes()), thousandths, "{text:?}");
        }
    }
}
