//! What an operator sets once for a run, as far as the core decides on it (protocol, section 10).

use serde::{Deserialize, Serialize};

use crate::model::TenantConfig;
use crate::time::Micros;

/// The core's part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// `WS_ALLOWED_ORIGINS`.
    pub allowed_origins: AllowedOrigins,
    /// `WS_MAX_CONNECTIONS_PER_USER`, at least 1.
    pub max_connections_per_user: u32,
    /// `DEFAULT_RATE_LIMIT`, tokens a second, at least 1.
    pub default_rate_limit: u32,
    /// `RETRY_MAX_ATTEMPTS`, 1 to 100.
    pub retry_max_attempts: u32,
    /// `LARGE_ROOM_MEMBERS`.
    pub large_room_members: u32,
    /// Whether `METRICS_TOKEN` is set, so that `/metrics` wants it.
    pub metrics_need_token: bool,
    /// `WORKER_INTERVAL`: how often what is past its time is cleaned up.
    pub worker_interval: Micros,
    /// `SHUTDOWN_DRAIN_TIMEOUT`.
    pub shutdown_drain_timeout: Micros,
}

/// From which origins browsers may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllowedOrigins {
    /// `*`
    Any,
    /// These alone, as `Origin` spells them; none where the variable is not set.
    Listed(Vec<String>),
}

/// Longest `content` in bytes where a tenant has not set its own `max_message_size`.
pub(crate) const DEFAULT_MAX_MESSAGE_SIZE_BYTES: u32 = 4_096;

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed_origins: AllowedOrigins::Listed(Vec::new()),
            max_connections_per_user: 5,
            default_rate_limit: 100,
            retry_max_attempts: 5,
            large_room_members: 100,
            metrics_need_token: false,
            worker_interval: Micros::from_secs(30),
            shutdown_drain_timeout: Micros::from_secs(10),
        }
    }
}

impl Config {
    /// A tenant's settings with every default filled in.
    #[must_use]
    pub fn effective(&self, config: &TenantConfig) -> TenantConfig {
        TenantConfig {
            webhook_url: config.webhook_url.clone(),
            rate_limit: config.rate_limit.or(Some(self.default_rate_limit)),
            max_message_size: config.max_message_size.or(Some(DEFAULT_MAX_MESSAGE_SIZE_BYTES)),
            retry_limit: config.retry_limit.or(Some(self.retry_max_attempts)),
            durable_notifications: config.durable_notifications.or(Some(true)),
        }
    }
}

impl AllowedOrigins {
    /// Whether a caller with this `Origin` may connect.
    #[must_use]
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(origins) => origins.iter().any(|listed| listed == origin),
        }
    }
}
