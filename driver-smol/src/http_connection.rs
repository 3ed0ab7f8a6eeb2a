//! An HTTP connection: requests in, answers out, one after another; or the way to a WebSocket.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use chatapi_core::api::{
    Action, HttpResponse, REQUEST_BODY_MAX_BYTES, Rejection, ResponseMeta, Upgrade, encode, encode_upgrade,
    parse_request, reject,
};
use chatapi_core::{ClosedBy, ConnId, Input};

use crate::budget::Share;
use crate::deadline::{Deadline, Ended};
use crate::exchange::{Exchange, Reply};
use crate::http1::{CONTINUE, Method, Persistence, Phase, Request, RequestReader, Version, encode_response};
use crate::listener::{Permit, Socket};
use crate::server::Server;
use crate::websocket::{self, Outbox};

/// For how long a connection may be kept without a request.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// For how long a head may take from its first byte on.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// For how long a body may take from the end of its head on.
const BODY_TIME: Duration = Duration::from_secs(30);
/// For how long a peer may take nothing of its answer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// For how long it may take an answer in all.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// For how long a connection is kept after its last answer, so that a reset does not eat it.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much of what a refused peer still sends is read: many write the whole body before they look for an answer, and
/// those whose body is a little too large are to find it. Nothing of it is kept.
const LINGER_BYTES: usize = REQUEST_BODY_MAX_BYTES + 1024 * 1024;

thread_local! {
    /// Bytes pass through here on their way from a socket: no connection needs a buffer of its own.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 32 * 1024].into_boxed_slice());
}

/// Serves a connection until it has ended or become a WebSocket, which goes on as a task of its own: awaiting it in
/// here would keep the memory of this one.
pub(crate) async fn serve(server: Arc<Server>, socket: Socket, permit: Permit) {
    let mut connection = HttpConnection {
        reader: RequestReader::new(),
        exchange: Arc::default(),
        deadline: server.deadlines.register(),
        share: server.budget.share(),
        socket,
        server,
    };
    if let Ok(End::Upgraded { conn, outbox }) = connection.run().await {
        let HttpConnection { reader, socket, server, .. } = connection;
        let executor = Arc::clone(&server.executor);
        let connection = websocket::serve(server, conn, outbox, socket, &reader.into_rest());
        let task = async move {
            connection.await;
            drop(permit);
        };
        executor.spawn(task).detach();
    }
}

/// Answers a connection that is one too many.
pub(crate) async fn turn_away(server: Arc<Server>, socket: Socket, permit: Permit) {
    let deadline = server.deadlines.register();
    let share = server.budget.share();
    let connection =
        HttpConnection { reader: RequestReader::new(), exchange: Arc::default(), deadline, share, socket, server };
    // A peer that does not take its refusal is refused all the same.
    drop(connection.refuse(connection.rejected(Rejection::Overloaded)).await);
    drop(permit);
}

struct HttpConnection {
    reader: RequestReader,
    exchange: Arc<Exchange>,
    deadline: Deadline,
    /// What a request takes of everyone's memory, until it is answered.
    share: Share,
    socket: Socket,
    server: Arc<Server>,
}

/// How an HTTP connection ended well.
enum End {
    Closed,
    Upgraded { conn: ConnId, outbox: Arc<Outbox> },
}

/// What became of a request.
enum Answered {
    Response(HttpResponse),
    Upgraded {
        conn: ConnId,
        outbox: Arc<Outbox>,
        head: Vec<u8>,
    },
    /// It came after the stop and asked for nothing to be done: the end of its connection says what a closed listener
    /// would have said.
    TooLate,
}

impl HttpConnection {
    async fn run(&mut self) -> io::Result<End> {
        loop {
            let request = match self.read_request().await? {
                Incoming::Request(request) => request,
                Incoming::Rejected(response) => {
                    self.refuse(response).await?;
                    return Ok(End::Closed);
                }
                Incoming::End => return Ok(End::Closed),
            };
            let busy = self.server.hub.busy();
            let answered = self.answer(&request).await;
            let persistence = request.persistence();
            drop(request);
            self.share.release();
            match answered {
                Answered::Response(response) => {
                    if self.write_response(response, persistence).await? == Persistence::Close {
                        self.linger().await?;
                        return Ok(End::Closed);
                    }
                }
                Answered::Upgraded { conn, outbox, head } => {
                    if let Err(error) = self.write(&head).await {
                        self.server.hub.handle(Input::Closed { conn, by: ClosedBy::Error });
                        self.server.hub.close_outbox(conn);
                        return Err(error);
                    }
                    return Ok(End::Upgraded { conn, outbox });
                }
                Answered::TooLate => return Ok(End::Closed),
            }
            drop(busy);
        }
    }

    async fn answer(&self, request: &Request) -> Answered {
        let (meta, action) = request.with_parts(|parts| parse_request(parts, &mut self.server.host()));
        let hub = &self.server.hub;
        match action {
            Action::Answer(response) => Answered::Response(response),
            Action::Call(body) => {
                let name = hub.ask(&self.exchange, |request| Input::Request { request, body });
                let forgotten = Forget { server: &self.server, name };
                let reply = self.exchange.take().await;
                drop(forgotten);
                match (reply, request.method()) {
                    (Reply::Stopped, Method::Get | Method::Head) => Answered::TooLate,
                    (reply, _) => Answered::Response(self.response(&meta, reply)),
                }
            }
            Action::Handshake(_) if request.version() != Version::Http1_1 => {
                let reason = Rejection::Malformed("a WebSocket handshake is HTTP/1.1 (RFC 6455, section 4.1)");
                Answered::Response(reject(reason, &meta))
            }
            Action::Handshake(upgrade) => self.shake_hands(&meta, upgrade).await,
        }
    }

    async fn shake_hands(&self, meta: &ResponseMeta, upgrade: Upgrade) -> Answered {
        let hub = &self.server.hub;
        let (conn, outbox) = hub.open_outbox();
        let body = upgrade.request;
        hub.ask(&self.exchange, |request| Input::Handshake { request, conn, body });
        match self.exchange.take().await {
            Reply::Accepted(rate_limit) => {
                let headers = encode_upgrade(meta, &rate_limit);
                let head = switching_protocols(&derive_accept_key(upgrade.key.as_bytes()), &headers);
                Answered::Upgraded { conn, outbox, head }
            }
            reply @ (Reply::Answer(_) | Reply::Stopped) => {
                hub.close_outbox(conn);
                Answered::Response(self.response(meta, reply))
            }
        }
    }

    fn response(&self, meta: &ResponseMeta, reply: Reply) -> HttpResponse {
        match reply {
            Reply::Answer(mut answer) => {
                answer.add_process_gauges(|| self.server.gauges());
                encode(meta, &answer)
            }
            // Only handshakes are accepted.
            Reply::Accepted(_) | Reply::Stopped => reject(Rejection::Stopped, meta),
        }
    }

    async fn read_request(&mut self) -> io::Result<Incoming> {
        let mut phase = None;
        loop {
            if self.share.hold(self.reader.buffer_bytes()).is_err() {
                let response = self.refused_for_want_of_memory();
                self.reader = RequestReader::new();
                self.share.release();
                return Ok(Incoming::Rejected(response));
            }
            match self.reader.next_request() {
                Ok(Some(request)) => return Ok(Incoming::Request(request)),
                Ok(None) => {}
                Err(rejection) => return Ok(Incoming::Rejected(self.rejected(rejection))),
            }
            let now = self.reader.phase();
            if phase != Some(now) {
                phase = Some(now);
                self.deadline.set(match now {
                    Phase::Idle | Phase::Ended => IDLE_TIME,
                    Phase::Head => HEAD_TIME,
                    Phase::Body => BODY_TIME,
                });
            }
            if self.reader.take_continue() {
                self.write(CONTINUE).await?;
                phase = None;
            }
            let (socket, reader) = (&self.socket, &mut self.reader);
            match self.deadline.run_until_closed(read_into(socket, |bytes| reader.push(bytes))).await {
                Ok(Ok(0)) => return Ok(Incoming::End),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                // After the stop nobody is there, but for the sender of something that is not simply sent again.
                Err(Ended::Closed) if now == Phase::Body => {
                    return Ok(Incoming::Rejected(self.rejected(Rejection::Stopped)));
                }
                Err(Ended::Closed) => return Ok(Incoming::End),
                Err(Ended::Expired) if now == Phase::Idle => return Ok(Incoming::End),
                Err(Ended::Expired) => return Ok(Incoming::Rejected(self.rejected(Rejection::Timeout))),
            }
        }
    }

    /// Tells as much of the caller's own as its head says, however much of the request came with it.
    fn refused_for_want_of_memory(&mut self) -> HttpResponse {
        match self.reader.next_request() {
            Ok(Some(request)) => {
                let told: Vec<_> = request.headers().collect();
                let meta = ResponseMeta::of_refused(&told, &mut self.server.host());
                reject(Rejection::Overloaded, &meta)
            }
            Ok(None) => self.rejected(Rejection::Overloaded),
            Err(rejection) => self.rejected(rejection),
        }
    }

    /// The answer to what the reader holds, or has refused.
    fn rejected(&self, rejection: Rejection) -> HttpResponse {
        let meta = ResponseMeta::of_refused(&self.reader.told(), &mut self.server.host());
        reject(rejection, &meta)
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.socket, &self.deadline, bytes, ANSWER_TIME).await
    }

    async fn write_response(&self, response: HttpResponse, after: Persistence) -> io::Result<Persistence> {
        let mut bytes = Vec::new();
        let after = encode_response(response, after, &mut bytes)?;
        self.write(&bytes).await?;
        Ok(after)
    }

    /// Answers what is no request, and ends the connection.
    async fn refuse(&self, response: HttpResponse) -> io::Result<()> {
        self.write_response(response, Persistence::Close).await?;
        self.linger().await
    }

    /// What the peer still sends is read for a moment: a socket that is closed with unread bytes in it resets, and the
    /// reset can eat the last answer.
    async fn linger(&self) -> io::Result<()> {
        self.socket.get_ref().shutdown(Shutdown::Write)?;
        self.deadline.set(LINGER_TIME);
        let mut left = LINGER_BYTES;
        while left > 0 {
            match self.deadline.run(read_into(&self.socket, |_| ())).await {
                Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
                _ => break,
            }
        }
        Ok(())
    }
}

/// Writes for as long as the peer takes something now and then, but no longer than `time` in all.
async fn write_all(socket: &Socket, deadline: &Deadline, bytes: &[u8], time: Duration) -> io::Result<()> {
    let mut rest = bytes;
    let mut ends_at = None;
    while !rest.is_empty() {
        match socket.get_ref().write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let now = Instant::now();
                let ends_at = *ends_at.get_or_insert(now + time);
                deadline.set(WRITE_TIME.min(ends_at.saturating_duration_since(now)));
                let Ok(writable) = deadline.run(socket.writable()).await else {
                    return Err(io::ErrorKind::TimedOut.into());
                };
                writable?;
                if ends_at <= now {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The head of a 101 (RFC 6455, section 4.2.2).
fn switching_protocols(accept_key: &str, headers: &[(&'static str, String)]) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key}\r\n"
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// What came over a connection.
enum Incoming {
    Request(Request),
    Rejected(HttpResponse),
    End,
}

/// Waits for bytes and hands them on; 0 is the end of the stream.
async fn read_into(socket: &Socket, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
    poll_fn(|context| {
        loop {
            if socket.poll_readable(context)?.is_pending() {
                return Poll::Pending;
            }
            let read: io::Result<usize> = READ_BUFFER.with_borrow_mut(|buffer| {
                let count = socket.get_ref().read(buffer)?;
                take(buffer.get(..count).unwrap_or_default());
                Ok(count)
            });
            match read {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                done => return Poll::Ready(done),
            }
        }
    })
    .await
}

/// Forgets a request when its connection's task ends before the answer came.
struct Forget<'a> {
    server: &'a Server,
    name: chatapi_core::RequestId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.server.hub.forget(self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use futures_lite::FutureExt as _;
    use smol::Async;

    use super::*;
    use crate::deadline::Deadlines;

    #[test]
    fn a_reader_that_takes_a_byte_now_and_then_is_not_written_to_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Async::new(listener.accept().unwrap().0).unwrap();
        // It always takes something, and would be at it for minutes.
        let takes = std::thread::spawn(move || while reader.read_exact(&mut [0]).is_ok() {});
        let deadlines = Arc::new(Deadlines::new());
        let deadline = deadlines.register();
        let answer = vec![0; 256 << 20];
        let written = async { write_all(&socket, &deadline, &answer, Duration::from_secs(1)).await };
        let watched = async {
            deadlines.watch().await;
            Ok(())
        };
        let error = smol::block_on(written.or(watched)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        socket.get_ref().shutdown(Shutdown::Both).unwrap();
        drop(socket);
        drop(takes);
    }
}
