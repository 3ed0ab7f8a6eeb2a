//! The driver: carries out what [`chatapi_core`] decides, on smol.
//!
//! | module | topic |
//! | --- | --- |
//! | [`cli`], [`settings`] | the command line and the configuration |
//! | [`stderr`], `logging`, `welcome` | what the operator is told |
//! | `server` | a server's life: open, serve, drain, close |
//! | `hub` | the core behind its lock, and the hand-over of effects |
//! | `listener`, `http_connection`, [`http1`] | sockets, and HTTP on them |
//! | `websocket` | WebSocket connections |
//! | `recorder` | what goes into the core, written down |
//! | `store_link`, `timer`, `deadline`, `clock` | the store's threads, time |
//! | `budget` | memory for what is not complete |

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody listens: see `stderr`")]

mod budget;
pub mod cli;
mod clock;
mod deadline;
mod exchange;
pub mod http1;
mod http_connection;
mod hub;
mod keys;
mod listener;
mod logging;
mod panics;
mod recorder;
mod server;
pub mod settings;
pub mod stderr;
mod store_link;
mod timer;
mod websocket;
mod welcome;

pub use server::StartError;

/// Serves chat until a signal ends the process.
///
/// # Errors
///
/// When the server does not start; each says what to do.
pub fn serve(settings: settings::Settings) -> Result<(), StartError> {
    logging::start(settings.log_level, settings.log_format);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    server::run(settings)
}
