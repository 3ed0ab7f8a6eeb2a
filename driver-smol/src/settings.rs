//! The configuration (protocol, section 10): flags over the environment over `.env`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chatapi_core::{AllowedOrigins, Config, Micros};
use chatapi_storage_sqlite::Synchronous;

/// Everything an operator can set.
#[derive(Clone)]
pub struct Settings {
    /// `LISTEN_ADDR`: where to listen; the first that binds.
    pub listen_addrs: Vec<SocketAddr>,
    /// `DATABASE_DSN` in `DATA_DIR`.
    pub database: PathBuf,
    /// `DATA_DIR`.
    pub data_dir: PathBuf,
    /// `MASTER_API_KEY`; `None` where it is not set.
    pub master_key: Option<String>,
    /// `METRICS_TOKEN`.
    pub metrics_token: Option<String>,
    /// `DATABASE_SYNCHRONOUS`.
    pub synchronous: Synchronous,
    /// `LOG_LEVEL`.
    pub log_level: tracing::Level,
    /// `LOG_FORMAT`; `None` is JSON, or text on a terminal.
    pub log_format: Option<LogFormat>,
    /// `--record`; `None` where nothing is recorded.
    pub record: Option<Record>,
    /// What the core decides on.
    pub core: Config,
    /// What was set but has no effect, for the log.
    pub warnings: Vec<String>,
}

/// What is recorded of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `--record`: the file, which must not be there yet.
    pub path: PathBuf,
    /// `--record-max-size`: where the recording ends.
    pub max_bytes: u64,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// An object a line.
    Json,
    /// For people.
    Text,
}

/// A setting that does not parse.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable} takes {takes}, not {value:?}")]
pub struct SettingError {
    variable: &'static str,
    takes: &'static str,
    value: String,
}

/// Where a variable's value comes from, the strongest first.
pub struct Sources {
    /// From the command line: by the names of variables, and [`RECORD`] and [`RECORD_MAX_SIZE`].
    pub flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// `.env` in the working directory.
    pub file: BTreeMap<String, String>,
}

/// A variable that is also a flag: `LISTEN_ADDR`, `--listen-addr`.
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
}

macro_rules! variables {
    ($($name:literal: $help:literal,)*) => {
        /// Every variable that is also a flag; the secrets are not, for command lines are seen by others.
        pub const VARIABLES: &[Variable] = &[$(Variable { name: $name, help: $help }),*];
    };
}

variables! {
    "LISTEN_ADDR": "Where to listen; :PORT means every interface, port 0 picks one [default: :8080]",
    "DATABASE_DSN": "The database: a path or file:PATH [default: chatapi.db]",
    "DATA_DIR": "Where a relative database path is; made if missing [default: the working directory]",
    "WS_ALLOWED_ORIGINS": "Origins of browsers that may call, comma-separated, * for any [default: none]",
    "WS_MAX_CONNECTIONS_PER_USER": "WebSocket connections of one user [default: 5]",
    "DEFAULT_RATE_LIMIT": "Requests and frames a second for a tenant that sets none [default: 100]",
    "RETRY_MAX_ATTEMPTS": "Attempts of a webhook in all [default: 5]",
    "LARGE_ROOM_MEMBERS": "Rooms with more members go without typing and presence [default: 100]",
    "SHUTDOWN_DRAIN_TIMEOUT": "How long a shutdown may take, as in 10s [default: 10s]",
    "DATABASE_SYNCHRONOUS": "full, or normal: faster, and a power cut may take the last moments [default: full]",
    "LOG_LEVEL": "debug, info, warn or error [default: info]",
    "LOG_FORMAT": "json or text [default: json, or text on a terminal]",
}

/// The flag that wants a recording. It is a flag alone: a variable that is left behind somewhere must not record.
pub const RECORD: &str = "--record";
/// The flag that bounds it.
pub const RECORD_MAX_SIZE: &str = "--record-max-size";
const RECORD_MAX_SIZE_DEFAULT: u64 = 1 << 30;
/// A recording must hold its first line at least.
const RECORD_MAX_SIZE_LEAST: u64 = 64 * 1024;

/// The shortest master key, in characters.
const MASTER_KEY_MIN_CHARS: usize = 16;

impl Settings {
    /// Reads every setting.
    ///
    /// # Errors
    ///
    /// A value that does not parse, with the name of its variable and what that takes.
    pub fn read(sources: &Sources) -> Result<Self, SettingError> {
        let mut warnings = Vec::new();
        let defaults = Config::default();
        let data_dir = PathBuf::from(sources.get("DATA_DIR").unwrap_or_else(|| ".".to_owned()));
        let origins = sources.get("WS_ALLOWED_ORIGINS").or_else(|| sources.get("ALLOWED_ORIGINS"));
        let drain = sources.parse("SHUTDOWN_DRAIN_TIMEOUT", "a duration like 500ms, 10s or 5m", parse_duration)?;
        if sources.get("LOG_DIR").is_some() {
            warnings.push("LOG_DIR has no effect: logs go to stdout".to_owned());
        }
        let metrics_token = sources.get("METRICS_TOKEN");
        let core = Config {
            allowed_origins: origins.as_deref().map_or(defaults.allowed_origins, parse_origins),
            max_connections_per_user: sources
                .parse("WS_MAX_CONNECTIONS_PER_USER", AT_LEAST_ONE, positive)?
                .unwrap_or(defaults.max_connections_per_user),
            default_rate_limit: sources
                .parse("DEFAULT_RATE_LIMIT", "a whole number from 1 to 1000000000", |text| {
                    positive(text).filter(|rate| *rate <= 1_000_000_000)
                })?
                .unwrap_or(defaults.default_rate_limit),
            retry_max_attempts: sources
                .parse("RETRY_MAX_ATTEMPTS", AT_LEAST_ONE, positive)?
                .unwrap_or(defaults.retry_max_attempts),
            large_room_members: sources
                .parse("LARGE_ROOM_MEMBERS", AT_LEAST_ONE, positive)?
                .unwrap_or(defaults.large_room_members),
            metrics_need_token: metrics_token.is_some(),
            shutdown_drain_timeout: drain.map_or(defaults.shutdown_drain_timeout, |drain| {
                Micros(u64::try_from(drain.as_micros()).unwrap_or(u64::MAX))
            }),
        };
        Ok(Self {
            listen_addrs: sources
                .parse("LISTEN_ADDR", "HOST:PORT or :PORT", parse_listen_addr)?
                .unwrap_or_else(|| every_interface(8080)),
            database: data_dir.join(sources.database(&mut warnings)?),
            data_dir,
            master_key: sources.master_key()?,
            metrics_token,
            synchronous: sources
                .parse("DATABASE_SYNCHRONOUS", "full or normal", |text| match text {
                    "full" => Some(Synchronous::Full),
                    "normal" => Some(Synchronous::Normal),
                    _ => None,
                })?
                .unwrap_or(Synchronous::Full),
            log_level: sources
                .parse("LOG_LEVEL", "debug, info, warn or error", |text| match text {
                    "debug" | "info" | "warn" | "error" => tracing::Level::from_str(text).ok(),
                    _ => None,
                })?
                .unwrap_or(tracing::Level::INFO),
            log_format: sources.parse("LOG_FORMAT", "json or text", |text| match text {
                "json" => Some(LogFormat::Json),
                "text" => Some(LogFormat::Text),
                _ => None,
            })?,
            record: sources.record()?,
            core,
            warnings,
        })
    }
}

impl Sources {
    /// A variable's value; an empty one counts as not set.
    fn get(&self, variable: &str) -> Option<String> {
        let flag = self.flags.get(variable);
        let value = flag.or_else(|| self.environment.get(variable)).or_else(|| self.file.get(variable))?;
        (!value.is_empty()).then(|| value.clone())
    }

    fn parse<T>(
        &self,
        variable: &'static str,
        takes: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        parse(value.trim()).map(Some).ok_or(SettingError { variable, takes, value })
    }

    fn record(&self) -> Result<Option<Record>, SettingError> {
        let Some(path) = self.flags.get(RECORD) else {
            return Ok(None);
        };
        let takes = "a size like 64MiB or 1GiB, at least 64KiB";
        let max_bytes = self
            .parse(RECORD_MAX_SIZE, takes, |text| parse_size(text).filter(|bytes| *bytes >= RECORD_MAX_SIZE_LEAST))?
            .unwrap_or(RECORD_MAX_SIZE_DEFAULT);
        Ok(Some(Record { path: PathBuf::from(path), max_bytes }))
    }

    fn master_key(&self) -> Result<Option<String>, SettingError> {
        let Some(key) = self.get("MASTER_API_KEY") else {
            return Ok(None);
        };
        if key.chars().count() < MASTER_KEY_MIN_CHARS {
            let value = "…".to_owned();
            return Err(SettingError { variable: "MASTER_API_KEY", takes: "at least 16 characters", value });
        }
        Ok(Some(key))
    }

    /// The file that `DATABASE_DSN` names.
    fn database(&self, warnings: &mut Vec<String>) -> Result<PathBuf, SettingError> {
        let takes = "the path of a file, or file:PATH";
        let file = self.parse("DATABASE_DSN", takes, |dsn| {
            let (path, parameters) = match dsn.strip_prefix("file:") {
                Some(uri) => uri.split_once('?').unwrap_or((uri, "")),
                None => (dsn, ""),
            };
            if !parameters.is_empty() {
                // Their values are not for the log: a key may be among them.
                let names: Vec<&str> = parameters.split('&').filter_map(|pair| pair.split('=').next()).collect();
                warnings.push(format!("the parameters of DATABASE_DSN have no effect: {}", names.join(", ")));
            }
            (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path))
        })?;
        Ok(file.unwrap_or_else(|| PathBuf::from("chatapi.db")))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("core", &self.core).finish_non_exhaustive()
    }
}

const AT_LEAST_ONE: &str = "a whole number, at least 1";

fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number >= 1)
}

fn parse_origins(list: &str) -> AllowedOrigins {
    let origins: Vec<String> =
        list.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
    if origins.iter().any(|origin| origin == "*") { AllowedOrigins::Any } else { AllowedOrigins::Listed(origins) }
}

/// `:PORT` is every interface, of IPv6 and IPv4 where the system has both.
fn parse_listen_addr(text: &str) -> Option<Vec<SocketAddr>> {
    if let Some(port) = text.strip_prefix(':') {
        return port.parse().ok().map(every_interface);
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(vec![SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))]);
    }
    text.parse().ok().map(|address| vec![address])
}

fn every_interface(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0_u8; 4], port))]
}

/// A size in bytes: `65536`, `64KiB`, `64MiB`, `1GiB`.
fn parse_size(text: &str) -> Option<u64> {
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
fn parse_duration(text: &str) -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Settings, SettingError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(&Sources { flags: BTreeMap::new(), environment, file: BTreeMap::new() })
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let from = |value: &str| BTreeMap::from([("LOG_LEVEL".to_owned(), value.to_owned())]);
        let mut sources = Sources {
            flags: BTreeMap::from([("LOG_LEVEL", "error".to_owned())]),
            environment: from("warn"),
            file: from("debug"),
        };
        assert_eq!(Settings::read(&sources).unwrap().log_level, tracing::Level::ERROR);
        sources.flags.clear();
        assert_eq!(Settings::read(&sources).unwrap().log_level, tracing::Level::WARN);
        sources.environment.clear();
        assert_eq!(Settings::read(&sources).unwrap().log_level, tracing::Level::DEBUG);
        sources.file.clear();
        assert_eq!(Settings::read(&sources).unwrap().log_level, tracing::Level::INFO);
    }

    #[test]
    fn a_value_that_does_not_parse_names_its_variable_and_what_it_takes() {
        for (variable, value) in [
            ("LISTEN_ADDR", "nowhere"),
            ("LISTEN_ADDR", ":99999"),
            ("DATABASE_DSN", ":memory:"),
            ("DATABASE_DSN", "file::memory:?cache=shared"),
            ("WS_MAX_CONNECTIONS_PER_USER", "0"),
            ("DEFAULT_RATE_LIMIT", "-1"),
            ("DEFAULT_RATE_LIMIT", "1e3"),
            ("RETRY_MAX_ATTEMPTS", "0"),
            ("SHUTDOWN_DRAIN_TIMEOUT", "10"),
            ("DATABASE_SYNCHRONOUS", "off"),
            ("LOG_LEVEL", "loud"),
            ("LOG_FORMAT", "xml"),
        ] {
            let error = read(&[(variable, value)]).map(|_| ()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{variable} takes ")), "{error}");
        }
    }

    #[test]
    fn a_short_master_key_is_refused_and_not_repeated() {
        let error = read(&[("MASTER_API_KEY", "hunter2hunter2")]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("at least 16 characters") && !error.contains("hunter"), "{error}");
        assert_eq!(read(&[("MASTER_API_KEY", "")]).unwrap().master_key, None);
    }

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

    #[test]
    fn a_recording_is_wanted_by_its_flag_alone_and_bounded_by_a_size() {
        assert_eq!(read(&[("RECORD", "x"), (RECORD, "x")]).unwrap().record, None);
        let record = |flags: &[(&'static str, &str)]| {
            let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            Settings::read(&Sources { flags, environment: BTreeMap::new(), file: BTreeMap::new() })
        };
        let path = PathBuf::from("run.jsonl");
        for (size, max_bytes) in
            [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("64KiB", 65_536), ("65536", 65_536), ("7GiB", 7 << 30)]
        {
            let settings = record(&[(RECORD, "run.jsonl"), (RECORD_MAX_SIZE, size)]).unwrap();
            assert_eq!(settings.record, Some(Record { path: path.clone(), max_bytes }), "{size}");
        }
        let by_default = record(&[(RECORD, "run.jsonl")]).unwrap().record;
        assert_eq!(by_default, Some(Record { path, max_bytes: 1 << 30 }));
        for size in ["", "MiB", "1.5GiB", "64mib", "64 MiB", "65535", "-1", "99999999999GiB"] {
            let flags = [(RECORD, "run.jsonl"), (RECORD_MAX_SIZE, size)];
            let error = record(&flags).map(|settings| settings.record);
            assert!(size.is_empty() || error.unwrap_err().to_string().contains("--record-max-size takes"), "{size:?}");
        }
    }

    #[test]
    fn a_data_source_name_is_a_path_and_its_parameters_are_ignored_with_a_warning() {
        let dsn = "file:chat.db?_journal_mode=WAL&_key=hunter2";
        let settings = read(&[("DATABASE_DSN", dsn), ("DATA_DIR", "/data")]).unwrap();
        assert_eq!(settings.database, PathBuf::from("/data/chat.db"));
        assert_eq!(settings.warnings, ["the parameters of DATABASE_DSN have no effect: _journal_mode, _key"]);
        assert_eq!(read(&[("DATABASE_DSN", "/x/y.db")]).unwrap().database, PathBuf::from("/x/y.db"));
    }

    #[test]
    fn origins_are_listed_or_any_under_either_name() {
        let origins = |name, list| read(&[(name, list)]).unwrap().core.allowed_origins;
        let listed = AllowedOrigins::Listed(vec!["https://a".to_owned(), "https://b".to_owned()]);
        assert_eq!(origins("WS_ALLOWED_ORIGINS", "https://a, https://b"), listed);
        assert_eq!(origins("ALLOWED_ORIGINS", "https://a,https://b,"), listed);
        assert_eq!(origins("WS_ALLOWED_ORIGINS", "*"), AllowedOrigins::Any);
        assert_eq!(origins("WS_ALLOWED_ORIGINS", ""), AllowedOrigins::Listed(Vec::new()));
    }
}
