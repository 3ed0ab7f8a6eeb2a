//! Where values come from, and the settings that take more than a look.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::values::{parse_data_source, parse_size};
use super::{RECORD, RECORD_MAX_SIZE, Record, SettingError};

const RECORD_MAX_SIZE_DEFAULT: u64 = 1 << 30;
/// A recording must hold its first line at least.
const RECORD_MAX_SIZE_LEAST: u64 = 64 * 1024;

/// The shortest master key, in characters.
const MASTER_KEY_MIN_CHARS: usize = 16;

/// Where a variable's value comes from, the strongest first.
pub struct Sources {
    /// From the command line: by the names of variables, and [`RECORD`] and [`RECORD_MAX_SIZE`].
    pub flags: BTreeMap<&'static str, OsString>,
    /// The environment.
    pub environment: BTreeMap<String, OsString>,
    /// `.env` in the working directory.
    pub file: BTreeMap<String, String>,
}

impl Sources {
    /// A variable's value; an empty one counts as not set.
    pub(super) fn get(&self, variable: &'static str) -> Result<Option<String>, SettingError> {
        let Some(value) = self.raw(variable) else {
            return Ok(None);
        };
        match value.to_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(SettingError { variable, takes: "text", found: "bytes that are no UTF-8".to_owned() }),
        }
    }

    /// Whether a variable has a value, be it what it may.
    pub(super) fn is_set(&self, variable: &'static str) -> bool {
        self.raw(variable).is_some()
    }

    pub(super) fn parse<T>(
        &self,
        variable: &'static str,
        takes: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        let Some(value) = self.get(variable).map_err(|error| SettingError { takes, ..error })? else {
            return Ok(None);
        };
        parse(value.trim()).map(Some).ok_or_else(|| SettingError { variable, takes, found: format!("{value:?}") })
    }

    fn raw(&self, variable: &str) -> Option<&OsStr> {
        let given = self.flags.get(variable).or_else(|| self.environment.get(variable)).map(OsString::as_os_str);
        let value = given.or_else(|| self.file.get(variable).map(OsStr::new))?;
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn record(&self) -> Result<Option<Record>, SettingError> {
        let Some(path) = self.flags.get(RECORD) else {
            return Ok(None);
        };
        let takes = "a size like 64MiB or 1GiB, at least 64KiB";
        let max_bytes = self
            .parse(RECORD_MAX_SIZE, takes, |text| parse_size(text).filter(|bytes| *bytes >= RECORD_MAX_SIZE_LEAST))?
            .unwrap_or(RECORD_MAX_SIZE_DEFAULT);
        Ok(Some(Record { path: PathBuf::from(path), max_bytes }))
    }

    pub(super) fn master_key(&self) -> Result<Option<String>, SettingError> {
        const VARIABLE: &str = "MASTER_API_KEY";
        let takes = "at least 16 characters";
        match self.secret(VARIABLE, takes)? {
            Some(key) if key.chars().count() < MASTER_KEY_MIN_CHARS => {
                Err(SettingError { variable: VARIABLE, takes, found: "fewer".to_owned() })
            }
            key => Ok(key),
        }
    }

    pub(super) fn metrics_token(&self) -> Result<Option<String>, SettingError> {
        self.secret("METRICS_TOKEN", "text in a line")
    }

    /// What is compared with a header's value. That comes without blanks at its ends and never holds a control character:
    /// a secret with them would be met by nobody. Blanks alone count as not set.
    fn secret(&self, variable: &'static str, takes: &'static str) -> Result<Option<String>, SettingError> {
        let given = self.get(variable).map_err(|error| SettingError { takes, ..error })?;
        match given.as_deref().map(str::trim_ascii) {
            None | Some("") => Ok(None),
            Some(secret) if secret.contains(char::is_control) => {
                let found = "control characters, which no header can carry".to_owned();
                Err(SettingError { variable, takes, found })
            }
            Some(secret) => Ok(Some(secret.to_owned())),
        }
    }

    /// The file that `DATABASE_DSN` names.
    pub(super) fn database(&self, warnings: &mut Vec<String>) -> Result<PathBuf, SettingError> {
        const VARIABLE: &str = "DATABASE_DSN";
        let takes = "the path of a file, or file:PATH";
        let Some(dsn) = self.get(VARIABLE).map_err(|error| SettingError { takes, ..error })? else {
            return Ok(PathBuf::from("chatapi.db"));
        };
        // Neither here nor in the log is it repeated: the value of a parameter may be a key.
        let source = parse_data_source(dsn.trim()).map_err(|found| SettingError {
            variable: VARIABLE,
            takes,
            found: found.to_owned(),
        })?;
        if !source.parameters.is_empty() {
            let names = source.parameters.join(", ");
            warnings.push(format!("the parameters of {VARIABLE} have no effect: {names}"));
        }
        Ok(PathBuf::from(source.path))
    }
}
