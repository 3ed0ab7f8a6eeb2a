//! `.env`: `NAME=VALUE` a line.
//!
//! Values are taken as they stand: a key with a `$` in it is that key, and nothing is put in for it. And what cannot be
//! read is never left out: the server would start without a setting that its operator believes in.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Why the server does not start on a `.env`. No value is repeated, for it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// It is there but cannot be read.
    #[error(".env cannot be read: {0}; make it readable, or start the server in another directory")]
    Unreadable(#[source] io::Error),
    /// A line is no setting.
    #[error(".env, line {number}{}: {}", variable.as_ref().map(|name| format!(" ({name})")).unwrap_or_default(), fault.message())]
    Line {
        /// Which, from 1.
        number: usize,
        /// What it sets, where that could be read.
        variable: Option<String>,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has no `=`.
    NoPair,
    /// What stands before the `=` is no name.
    Name,
    /// It is no UTF-8.
    NoText,
    /// A quote is opened and not closed.
    OpenQuote,
    /// Something follows the closing quote.
    AfterQuote,
}

impl Fault {
    const fn message(self) -> &'static str {
        match self {
            Self::NoPair => "a line must be NAME=VALUE, or a comment that begins with #",
            Self::Name => "the name before the = may hold letters, digits, _ and . alone, and no digit first",
            Self::NoText => "it must be UTF-8",
            Self::OpenQuote => "the value's quote must be closed on the same line",
            Self::AfterQuote => "nothing but a comment may follow the value's closing quote",
        }
    }
}

/// The pairs of the file; none where there is no file. Of two lines for one name the last counts.
///
/// # Errors
///
/// A file that cannot be read, or the first line that is no setting.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, EnvFileError> {
    match std::fs::read(path) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(EnvFileError::Unreadable(error)),
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, EnvFileError> {
    // Editors of Windows begin a file with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut pairs = BTreeMap::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let at_line = |variable, fault| EnvFileError::Line { number: index + 1, variable, fault };
        let line = std::str::from_utf8(line).map_err(|_| at_line(None, Fault::NoText))?;
        let (name, value) = line.split_once('=').ok_or_else(|| at_line(None, Fault::NoPair))?;
        let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(name);
        let name = name.trim_ascii();
        if !is_name(name) {
            return Err(at_line(None, Fault::Name));
        }
        let value = parse_value(value).map_err(|fault| at_line(Some(name.to_owned()), fault))?;
        pairs.insert(name.to_owned(), value);
    }
    Ok(pairs)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
}

fn parse_value(text: &str) -> Result<String, Fault> {
    let value = text.trim_ascii();
    let (value, rest) = if let Some(quoted) = value.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'').ok_or(Fault::OpenQuote)?;
        (value.to_owned(), rest)
    } else if let Some(quoted) = value.strip_prefix('"') {
        split_double_quoted(quoted).ok_or(Fault::OpenQuote)?
    } else {
        return Ok(without_comment(text).trim_ascii().to_owned());
    };
    if without_comment(rest).trim_ascii().is_empty() { Ok(value) } else { Err(Fault::AfterQuote) }
}

/// A `#` begins a comment after a blank alone: `pass#word` is a value.
fn without_comment(text: &str) -> &str {
    let starts = [" #", "\t#"].into_iter().filter_map(|start| text.find(start));
    starts.min().and_then(|start| text.get(..start)).unwrap_or(text)
}

/// The value up to the closing quote, and what follows that.
fn split_double_quoted(mut rest: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    loop {
        if let Some(after) = rest.strip_prefix('"') {
            return Some((value, after));
        }
        let mut characters = rest.chars();
        let plain = characters.next()?;
        let escape = ESCAPES.iter().find_map(|&(written, meant)| Some((meant, rest.strip_prefix(written)?)));
        let (character, after) = escape.unwrap_or((plain, characters.as_str()));
        value.push(character);
        rest = after;
    }
}

/// A backslash before anything else stands for itself.
const ESCAPES: [(&str, char); 3] = [("\\\"", '"'), ("\\\\", '\\'), ("\\n", '\n')];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_as_it_stands() {
        for (line, value) in [
            ("A=plain", "plain"),
            ("A=", ""),
            ("A= \t", ""),
            ("export A=plain", "plain"),
            ("export\tA = plain ", "plain"),
            ("  A=plain\r", "plain"),
            ("A=https://a.example, https://b.example", "https://a.example, https://b.example"),
            ("A=pre$fix${HOME}$(id)`id`", "pre$fix${HOME}$(id)`id`"),
            ("A=\"pre$fix${HOME}\"", "pre$fix${HOME}"),
            ("A='pre$fix\\n\\'", "pre$fix\\n\\"),
            ("A=back\\slash\\n", "back\\slash\\n"),
            (r#"A="a \"b\" \\ \n \d""#, "a \"b\" \\ \n \\d"),
            ("A=it's", "it's"),
            ("A=a\"b\"", "a\"b\""),
            ("A=a=b==", "a=b=="),
            ("A=pass#word", "pass#word"),
            ("A=#word", "#word"),
            ("A=word # of mine", "word"),
            ("A=word\t# of 'mine", "word"),
            ("A= # nothing", ""),
            ("A=' kept # blanks '", " kept # blanks "),
            ("A=\"x\" # 'of mine", "x"),
            ("A='' ", ""),
            ("A=gr\u{fc}n", "gr\u{fc}n"),
            ("A=first\nA=last", "last"),
            ("\u{feff}A=first line", "first line"),
            ("# A=no\n\n  # nor this\nA=yes\n", "yes"),
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap().get("A").map(String::as_str), Some(value), "{line:?}");
        }
        assert_eq!(parse(b"# gr\xFCn\n").unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_line_that_is_no_setting_is_an_error_that_tells_where_and_no_value() {
        for (line, name, expected) in [
            ("hunter2", "", Fault::NoPair),
            ("export A", "", Fault::NoPair),
            ("=hunter2", "", Fault::Name),
            ("hunter2 b=hunter2", "", Fault::Name),
            ("2hunter=x", "", Fault::Name),
            ("\u{feff}A=hunter2", "", Fault::Name),
            ("A='hunter2", "A", Fault::OpenQuote),
            ("A=\"hunter2", "A", Fault::OpenQuote),
            ("A=\"hunter2\\\"", "A", Fault::OpenQuote),
            ("A=\"", "A", Fault::OpenQuote),
            ("A='hunter2'hunter2'", "A", Fault::AfterQuote),
            ("A=\"hunter2\"#x", "A", Fault::AfterQuote),
        ] {
            let error = parse(format!("B=1\n\n{line}\nC=2\n").as_bytes()).unwrap_err();
            let text = error.to_string();
            let EnvFileError::Line { number, variable, fault } = error else { panic!("{text}") };
            assert_eq!((number, variable.unwrap_or_default().as_str(), fault), (3, name, expected), "{line:?}");
            assert!(text.starts_with(".env, line 3") && !text.contains("hunter"), "{text}");
        }
        let error = parse(b"A=hunter2\xFF").unwrap_err().to_string();
        assert!(error.starts_with(".env, line 1: ") && !error.contains("hunter"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_sets_nothing_and_one_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join(".env")).unwrap(), BTreeMap::new());
        assert!(matches!(read(directory.path()).unwrap_err(), EnvFileError::Unreadable(_)));
    }
}
