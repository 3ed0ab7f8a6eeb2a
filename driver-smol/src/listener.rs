//! The listening socket, and the loop that accepts.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_lite::FutureExt as _;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::{Async, Timer};

use crate::http_connection;
use crate::server::Server;

/// How many connections may wait to be accepted. The standard library's 128 drops the rest of a reconnect storm.
const BACKLOG: i32 = 4_096;
/// Descriptors kept for the database, logs and the runtime.
const RESERVED_DESCRIPTORS: u64 = 64;
/// How many connections past the limit are told so at a time, of the reserve: that takes a moment, and what comes
/// meanwhile is closed without a word.
const TURNED_AWAY_MAX: usize = 16;
/// How long to wait after an error of `accept`: at the file limit it fails again at once, for as long as it stands.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds the first address that the system takes.
pub(crate) fn bind(addresses: &[SocketAddr]) -> io::Result<Async<TcpListener>> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
    for address in addresses {
        match bind_one(*address) {
            Ok(listener) => return Async::new(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Raises the limit of open files as far as the system lets; hands back how many connections fit below it.
pub(crate) fn connection_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let connections = current.unwrap_or(1 << 20).saturating_sub(RESERVED_DESCRIPTORS).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Accepts connections until the core has stopped, and closes the listener then.
pub(crate) async fn accept(server: Arc<Server>, listener: Async<TcpListener>) {
    let hub = Arc::clone(&server.hub);
    hub.stopped().or(accept_all(server, listener)).await;
}

async fn accept_all(server: Arc<Server>, listener: Async<TcpListener>) {
    let open = Arc::new(AtomicUsize::new(0));
    let turned_away = Arc::new(AtomicUsize::new(0));
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers go out in one write each: waiting for more would only delay them.
        if socket.get_ref().set_nodelay(true).is_err() {
            continue;
        }
        if let Some(permit) = Permit::take(&open, server.connection_limit) {
            server.executor.spawn(http_connection::serve(Arc::clone(&server), socket, permit)).detach();
        } else if let Some(permit) = Permit::take(&turned_away, TURNED_AWAY_MAX) {
            server.executor.spawn(http_connection::turn_away(Arc::clone(&server), socket, permit)).detach();
        }
    }
}

/// Counts a connection for as long as it lives.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// One more, where fewer than `limit` are open.
    fn take(open: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        // They are taken by one task alone: meanwhile there can only be fewer.
        if open.load(Ordering::Relaxed) >= limit {
            return None;
        }
        open.fetch_add(1, Ordering::Relaxed);
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket whose answers need not wait.
pub(crate) type Socket = Async<TcpStream>;
