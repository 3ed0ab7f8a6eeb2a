//! The configuration (protocol, section 10): flags over the environment over `.env`.

mod env_file;
mod sources;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chatapi_core::{Config, Micros};
use chatapi_storage_sqlite::Synchronous;

pub use env_file::{EnvFileError, Fault, read as read_env_file};
pub use sources::Sources;
use values::{
    every_interface, parse_boolean, parse_duration, parse_interval, parse_listen_addr, parse_origins, positive,
};

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
    /// How webhooks are called.
    pub webhooks: Webhooks,
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

/// How webhooks are called (protocol, section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    /// `RETRY_INTERVAL`: how long after the first failure the next attempt is made.
    pub retry_interval: Duration,
    /// `WEBHOOK_CONCURRENCY`: requests at a time.
    pub concurrency: u32,
    /// `WEBHOOK_BREAKER_OPEN`: for how long an endpoint that failed again and again is left alone at first.
    pub breaker_open: Duration,
    /// `WEBHOOK_BLOCK_PRIVATE`: whether private addresses are never called.
    pub block_private: bool,
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
#[error("{variable} takes {takes}, not {found}")]
pub struct SettingError {
    variable: &'static str,
    takes: &'static str,
    /// The value, or what it is, where it may hold a secret.
    found: String,
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
    "DATABASE_DSN": "The database: a path or file:PATH; parameters after a ? have no effect [default: chatapi.db]",
    "DATA_DIR": "Where a relative database path is; made if missing [default: the working directory]",
    "WS_ALLOWED_ORIGINS": "Origins of browsers that may call, comma-separated, * for any [default: none]",
    "WS_MAX_CONNECTIONS_PER_USER": "WebSocket connections of one user [default: 5]",
    "DEFAULT_RATE_LIMIT": "Requests and frames a second for a tenant that sets none [default: 100]",
    "WORKER_INTERVAL": "How often what is past its time is cleaned up, as in 30s [default: 30s]",
    "RETRY_INTERVAL": "How long after a webhook's first failure it is called again [default: 30s]",
    "RETRY_MAX_ATTEMPTS": "Attempts of a webhook in all, 1 to 100 [default: 5]",
    "WEBHOOK_CONCURRENCY": "Webhooks called at a time [default: 64]",
    "WEBHOOK_BREAKER_OPEN": "How long an endpoint that keeps failing is left alone at first [default: 30s]",
    "WEBHOOK_BLOCK_PRIVATE": "true or false: whether webhooks at private addresses are never called [default: false]",
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
impl Settings {
    /// Reads every setting.
    ///
    /// # Errors
    ///
    /// A value that does not parse, with the name of its variable and what that takes.
    pub fn read(sources: &Sources) -> Result<Self, SettingError> {
        let mut warnings = Vec::new();
        let defaults = Config::default();
        let data_dir = PathBuf::from(sources.get("DATA_DIR")?.unwrap_or_else(|| ".".to_owned()));
        let origins = match sources.get("WS_ALLOWED_ORIGINS")? {
            Some(origins) => Some(origins),
            None => sources.get("ALLOWED_ORIGINS")?,
        };
        let drain = sources.parse("SHUTDOWN_DRAIN_TIMEOUT", "a duration like 500ms, 10s or 5m", parse_duration)?;
        if sources.is_set("LOG_DIR") {
            warnings.push("LOG_DIR has no effect: logs go to stdout".to_owned());
        }
        let metrics_token = sources.metrics_token()?;
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
                .parse("RETRY_MAX_ATTEMPTS", "a whole number from 1 to 100", |text| {
                    // A tenant's `retry_limit`, which it stands in for, goes no further.
                    positive(text).filter(|attempts| *attempts <= 100)
                })?
                .unwrap_or(defaults.retry_max_attempts),
            large_room_members: sources
                .parse("LARGE_ROOM_MEMBERS", AT_LEAST_ONE, positive)?
                .unwrap_or(defaults.large_room_members),
            metrics_need_token: metrics_token.is_some(),
            worker_interval: micros(interval(sources, "WORKER_INTERVAL")?),
            shutdown_drain_timeout: drain.map_or(defaults.shutdown_drain_timeout, micros),
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
            webhooks: Webhooks::read(sources)?,
            core,
            warnings,
        })
    }
}

impl Webhooks {
    fn read(sources: &Sources) -> Result<Self, SettingError> {
        Ok(Self {
            retry_interval: interval(sources, "RETRY_INTERVAL")?,
            concurrency: sources.parse("WEBHOOK_CONCURRENCY", AT_LEAST_ONE, positive)?.unwrap_or(64),
            breaker_open: interval(sources, "WEBHOOK_BREAKER_OPEN")?,
            block_private: sources.parse("WEBHOOK_BLOCK_PRIVATE", "true or false", parse_boolean)?.unwrap_or(false),
        })
    }
}

/// 30 s, or what is set.
fn interval(sources: &Sources, variable: &'static str) -> Result<Duration, SettingError> {
    let given = sources.parse(variable, "a duration above 0, like 500ms, 30s or 5m", parse_interval)?;
    Ok(given.unwrap_or(Duration::from_secs(30)))
}

fn micros(span: Duration) -> Micros {
    Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

const AT_LEAST_ONE: &str = "a whole number, at least 1";

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("core", &self.core).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    use chatapi_core::AllowedOrigins;

    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Settings, SettingError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Settings::read(&Sources { flags: BTreeMap::new(), environment, file: BTreeMap::new() })
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let mut sources = Sources {
            flags: BTreeMap::from([("LOG_LEVEL", "error".into())]),
            environment: BTreeMap::from([("LOG_LEVEL".to_owned(), "warn".into())]),
            file: BTreeMap::from([("LOG_LEVEL".to_owned(), "debug".to_owned())]),
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
            ("DATABASE_DSN", ":memory:?cache=shared"),
            ("DATABASE_DSN", "file::memory:"),
            ("DATABASE_DSN", "file::memory:?cache=shared"),
            ("DATABASE_DSN", "file:x.db?mode=memory"),
            ("DATABASE_DSN", "x.db?_busy_timeout=5000&mode=memory&cache=shared"),
            ("DATABASE_DSN", "file:?_journal_mode=WAL"),
            ("WS_MAX_CONNECTIONS_PER_USER", "0"),
            ("DEFAULT_RATE_LIMIT", "-1"),
            ("DEFAULT_RATE_LIMIT", "1e3"),
            ("RETRY_MAX_ATTEMPTS", "0"),
            ("RETRY_MAX_ATTEMPTS", "101"),
            ("WORKER_INTERVAL", "30"),
            ("WORKER_INTERVAL", "0s"),
            ("RETRY_INTERVAL", "soon"),
            ("RETRY_INTERVAL", "-1s"),
            ("WEBHOOK_CONCURRENCY", "0"),
            ("WEBHOOK_CONCURRENCY", "many"),
            ("WEBHOOK_BREAKER_OPEN", "30"),
            ("WEBHOOK_BLOCK_PRIVATE", "yes"),
            ("WEBHOOK_BLOCK_PRIVATE", "1"),
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
        let error = read(&[("MASTER_API_KEY", "  hunter2hunter2  ")]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("at least 16 characters") && !error.contains("hunter"), "{error}");
    }

    #[test]
    fn a_secret_is_what_a_header_can_carry() {
        let secrets = |value| {
            let settings = read(&[("MASTER_API_KEY", value), ("METRICS_TOKEN", value)]).unwrap();
            [settings.master_key, settings.metrics_token]
        };
        for (value, secret) in [
            (" \tsixteen characters\r\n", Some("sixteen characters")),
            ("sixteen  characters", Some("sixteen  characters")),
            ("s\u{e4}chzehn Zeichen", Some("s\u{e4}chzehn Zeichen")),
            (" \t\n", None),
        ] {
            assert_eq!(secrets(value), [secret.map(str::to_owned), secret.map(str::to_owned)], "{value:?}");
        }
        for variable in ["MASTER_API_KEY", "METRICS_TOKEN"] {
            for value in ["hunter2hunter2\nhunter2", "hunter2hunter2\0hunter2", "hunter2hunter2\x7Fhunter2"] {
                let error = read(&[(variable, value)]).map(|_| ()).unwrap_err().to_string();
                assert!(error.starts_with(&format!("{variable} takes ")) && !error.contains("hunter"), "{error}");
            }
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_refused_under_its_name_and_not_repeated() {
        let secrets = ["MASTER_API_KEY", "METRICS_TOKEN", "ALLOWED_ORIGINS"];
        for variable in VARIABLES.iter().map(|variable| variable.name).chain(secrets) {
            let value = OsString::from_vec(b"hunter2hunter2hunter2\xFF".to_vec());
            let mut sources = Sources {
                flags: BTreeMap::new(),
                environment: BTreeMap::from([(variable.to_owned(), value.clone())]),
                file: BTreeMap::new(),
            };
            let error = Settings::read(&sources).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable} takes ")) && !error.contains("hunter"), "{error}");
            sources.environment.clear();
            sources.flags.insert(variable, value);
            assert_eq!(Settings::read(&sources).map(|_| ()).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn attempts_go_as_far_as_a_tenant_could_set_them() {
        for (text, attempts) in [("1", 1), ("100", 100)] {
            assert_eq!(read(&[("RETRY_MAX_ATTEMPTS", text)]).unwrap().core.retry_max_attempts, attempts);
        }
    }

    #[test]
    fn webhooks_are_called_as_is_set() {
        let by_default = read(&[]).unwrap().webhooks;
        let half_a_minute = Duration::from_secs(30);
        let expected = Webhooks {
            retry_interval: half_a_minute,
            concurrency: 64,
            breaker_open: half_a_minute,
            block_private: false,
        };
        assert_eq!(by_default, expected);
        assert_eq!(read(&[]).unwrap().core.worker_interval, Micros::from_secs(30));
        let set = read(&[
            ("WORKER_INTERVAL", "1m"),
            ("RETRY_INTERVAL", "500ms"),
            ("WEBHOOK_CONCURRENCY", "8"),
            ("WEBHOOK_BREAKER_OPEN", "1h"),
            ("WEBHOOK_BLOCK_PRIVATE", "true"),
        ]);
        let expected = Webhooks {
            retry_interval: Duration::from_millis(500),
            concurrency: 8,
            breaker_open: Duration::from_secs(3_600),
            block_private: true,
        };
        let set = set.unwrap();
        assert_eq!((set.webhooks, set.core.worker_interval), (expected, Micros::from_secs(60)));
    }

    #[test]
    fn a_recording_is_wanted_by_its_flag_alone_and_bounded_by_a_size() {
        assert_eq!(read(&[("RECORD", "x"), (RECORD, "x")]).unwrap().record, None);
        let record = |flags: &[(&'static str, &str)]| {
            let flags = flags.iter().map(|(name, value)| (*name, (*value).into())).collect();
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
        for (dsn, path, parameters) in [
            ("file:chat.db?_journal_mode=WAL&_key=hunter2", "/data/chat.db", "_journal_mode, _key"),
            ("chat.db?_journal_mode=WAL&cache=shared", "/data/chat.db", "_journal_mode, cache"),
            ("/x/y.db?_fk", "/x/y.db", "_fk"),
            ("file:/x/y.db", "/x/y.db", ""),
            ("/x/y.db?", "/x/y.db", ""),
            ("/x/y.db", "/x/y.db", ""),
        ] {
            let settings = read(&[("DATABASE_DSN", dsn), ("DATA_DIR", "/data")]).unwrap();
            assert_eq!(settings.database, PathBuf::from(path), "{dsn}");
            let warning = format!("the parameters of DATABASE_DSN have no effect: {parameters}");
            let expected = if parameters.is_empty() { vec![] } else { vec![warning] };
            assert_eq!(settings.warnings, expected, "{dsn}");
        }
    }

    #[test]
    fn a_data_source_that_is_refused_is_not_repeated() {
        let error = read(&[("DATABASE_DSN", "file:x.db?_key=hunter2&mode=memory")]).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "DATABASE_DSN takes the path of a file, or file:PATH, not a database in memory");
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
