//! One non-blocking connection: bytes that came and are not used yet, bytes that wait for room to go.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::error::{Result, fail};
use crate::poller::Poller;

/// More than this of a buffer is not kept once it is empty: thousands of connections share this process.
const KEEP: usize = 4096;

/// So much at once is a stream. A segment on loopback holds 64 KiB, which may be all that the sender's buffer takes: it
/// would then wait 40 ms for an acknowledgement that on a network comes with every second segment of 1,448 bytes.
const BULK: usize = 8 * 1024;

/// A connection under a token of a [`Poller`].
#[derive(Debug)]
pub(crate) struct Conn {
    socket: OwnedFd,
    token: usize,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    watches_room: bool,
}

impl Conn {
    /// Begins to connect, from `source` where given: each source address has its own 28,000 ephemeral ports.
    pub(crate) fn open(poller: &Poller, token: usize, to: SocketAddrV4, source: Option<Ipv4Addr>) -> Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(source) = source {
            bind(&socket, &SocketAddrV4::new(source, 0))?;
        }
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        // The first write waits until the connection stands: room to write is what tells.
        poller.add(&socket, token, true)?;
        Ok(Self { socket, token, input: Vec::new(), used: 0, output: Vec::new(), watches_room: true })
    }

    /// Puts bytes in the queue; [`Self::flush`] sends them.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what is queued, as far as there is room; the poller tells when there is more.
    pub(crate) fn flush(&mut self, poller: &Poller) -> Result<()> {
        if !self.output.is_empty() {
            match rustix::io::write(&self.socket, &self.output) {
                Ok(sent) if sent == self.output.len() => empty(&mut self.output),
                Ok(sent) => drop(self.output.drain(..sent)),
                // Not connected yet is no room yet.
                Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let watch = !self.output.is_empty();
        if watch != self.watches_room {
            poller.change(&self.socket, self.token, watch)?;
            self.watches_room = watch;
        }
        Ok(())
    }

    /// Reads once, through `scratch`, which all connections share. Fails when the other side closed.
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> Result<()> {
        match rustix::io::read(&self.socket, &mut *scratch) {
            Ok(0) => fail("the server closed the connection"),
            Ok(read) => {
                self.input.extend_from_slice(&scratch[..read]);
                if read >= BULK {
                    sockopt::set_tcp_quickack(&self.socket, true)?;
                }
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What came and was not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// Marks the first `count` bytes of [`Self::input`] as used; they stay readable by [`Self::recent`] until
    /// [`Self::tidy`].
    pub(crate) fn consume(&mut self, count: usize) {
        self.used += count;
    }

    /// The last `count` bytes that were consumed.
    pub(crate) fn recent(&self, count: usize) -> &[u8] {
        &self.input[self.used - count..self.used]
    }

    /// Drops the consumed bytes.
    pub(crate) fn tidy(&mut self) {
        if self.used == self.input.len() {
            empty(&mut self.input);
        } else {
            self.input.drain(..self.used);
        }
        self.used = 0;
    }
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
}
