//! What the black-box tests share: a server process of their own, an HTTP client, a WebSocket client.

#![allow(dead_code, reason = "each test target uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::{self, Message, WebSocket};
use serde_json::Value;
use tempfile::TempDir;

/// The master key of every server here.
pub(crate) const MASTER_KEY: &str = "the-master-key-of-the-tests";
/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server process. It is killed when dropped, before its data goes.
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    log: Mutex<Receiver<Value>>,
    data_dir: Option<TempDir>,
    settings: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

/// A tenant of a server's.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) tenant_id: String,
    pub(crate) api_key: String,
}

impl Server {
    /// Starts a server with an empty database.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with settings from the environment.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::start_in(tempfile::tempdir().unwrap(), settings, &[])
    }

    /// Starts a server that may open so many files.
    pub(crate) fn start_with_files(limit: u32) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let direct = command(data_dir.path(), &[]);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
            .arg(direct.get_program())
            .args(direct.get_args())
            .env_clear()
            .envs(direct.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(data_dir.path());
        Self::start_by(limited, data_dir, Vec::new())
    }

    /// How many files the process has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).unwrap().count()
    }

    /// Starts a server with flags, which a restart leaves out.
    pub(crate) fn start_with_flags(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Vec::new(), flags)
    }

    /// Starts a server whose stdout and stderr are given, so that nothing of its log is seen here.
    pub(crate) fn start_unseen(settings: &[(&str, &str)], output: impl Fn() -> Stdio) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        // No log tells the port: it is found free on an address that nobody else listens on or calls from.
        let address = TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
        let mut settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings.push(("LISTEN_ADDR".to_owned(), address.to_string()));
        let mut command = command(data_dir.path(), &settings);
        let process = Process(command.stdout(output()).stderr(output()).spawn().unwrap());
        let log = Mutex::new(mpsc::channel().1);
        let server = Self { process, address, log, data_dir: Some(data_dir), settings };
        eventually("the server is ready", || {
            server.try_request("GET", "/readyz", &[], "").is_ok_and(|answer| answer.status == 200)
        });
        server
    }

    /// Starts a server whose stderr, where a panic tells of itself, is given.
    pub(crate) fn start_with_stderr(stderr: Stdio) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut command = command(data_dir.path(), &[]);
        command.stderr(stderr);
        Self::start_by(command, data_dir, Vec::new())
    }

    /// Starts a server in a directory where something is prepared.
    pub(crate) fn start_in(data_dir: TempDir, settings: Vec<(String, String)>, flags: &[&str]) -> Self {
        let mut command = command(data_dir.path(), &settings);
        command.args(flags);
        Self::start_by(command, data_dir, settings)
    }

    fn start_by(mut command: Command, data_dir: TempDir, settings: Vec<(String, String)>) -> Self {
        let mut process = Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        let log = follow(process.0.stdout.take().unwrap());
        let listening = await_line(&log, "listening");
        let address = listening["address"].as_str().unwrap().parse().unwrap();
        Self { process, address, log: Mutex::new(log), data_dir: Some(data_dir), settings }
    }

    /// kill -9, then a start on the same database.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        Self::start_in(self.data_dir.take().unwrap(), std::mem::take(&mut self.settings), &[])
    }

    /// SIGTERM; hands back the exit code and the rest of the log.
    pub(crate) fn terminate(mut self) -> (Option<i32>, Vec<Value>) {
        self.signal("TERM");
        let status = await_exit(&mut self.process.0);
        let log = self.log.lock().unwrap();
        (status, log.iter().collect())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.process.0.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn await_exit(&mut self) -> Option<i32> {
        await_exit(&mut self.process.0)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.as_ref().unwrap().path()
    }

    /// The kernel's count of the process's resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits for a line of the log with this message.
    pub(crate) fn await_log(&self, message: &str) -> Value {
        await_line(&self.log.lock().unwrap(), message)
    }

    /// Sends a request by a real HTTP client.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.try_request(method, path, headers, body).unwrap()
    }

    /// Sends a request that a server may die under.
    pub(crate) fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response, ureq::Error> {
        request(&agent(), self.address, method, path, headers, body)
    }

    pub(crate) fn create_tenant(&self, config: &str) -> Tenant {
        let body = format!(r#"{{"name":"test","config":{config}}}"#);
        let created = self.request("POST", "/admin/tenants", &[("X-Master-Key", MASTER_KEY)], &body);
        assert_eq!(created.status, 201, "{created:?}");
        Tenant { tenant_id: created.text("tenant_id"), api_key: created.text("api_key") }
    }

    pub(crate) fn as_user(&self, tenant: &Tenant, user: &str, method: &str, path: &str, body: &str) -> Response {
        self.request(method, path, &[("X-API-Key", &tenant.api_key), ("X-User-Id", user)], body)
    }

    pub(crate) fn create_room(&self, tenant: &Tenant, creator: &str, members: &[&str]) -> String {
        let body = serde_json::json!({"type": "group", "members": members}).to_string();
        let created = self.as_user(tenant, creator, "POST", "/rooms", &body);
        assert_eq!(created.status, 201, "{created:?}");
        created.text("room_id")
    }

    pub(crate) fn send(&self, tenant: &Tenant, user: &str, room: &str, content: &str) -> Response {
        let body = serde_json::json!({"content": content}).to_string();
        self.as_user(tenant, user, "POST", &format!("/rooms/{room}/messages"), &body)
    }

    /// Every message of a room, by pages.
    pub(crate) fn history(&self, tenant: &Tenant, user: &str, room: &str) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::new();
        loop {
            let after = messages.last().map_or(0, |message| message["seq"].as_u64().unwrap());
            let path = format!("/rooms/{room}/messages?after_seq={after}&limit=100");
            let page = self.as_user(tenant, user, "GET", &path, "");
            assert_eq!(page.status, 200, "{page:?}");
            messages.extend(page.body["messages"].as_array().unwrap().iter().cloned());
            if page.body["has_more"] == false {
                return messages;
            }
        }
    }

    /// Connects a user by headers.
    pub(crate) fn connect(&self, tenant: &Tenant, user: &str) -> Socket {
        self.handshake("/ws", &[("X-API-Key", &tenant.api_key), ("X-User-Id", user)]).unwrap()
    }

    /// Connects a user by a token, as a browser does.
    pub(crate) fn connect_by_token(&self, tenant: &Tenant, user: &str) -> Socket {
        let token = self.as_user(tenant, user, "POST", "/ws/token", "").text("token");
        self.handshake(&format!("/ws?token={token}"), &[]).unwrap()
    }

    /// Shakes hands by a real WebSocket client; a refusal is its status and error code.
    pub(crate) fn handshake(&self, path: &str, headers: &[(&str, &str)]) -> Result<Socket, (u16, String)> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            let name: tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = self.open();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Socket { socket }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
                Err((response.status().as_u16(), body["error"]["code"].as_str().unwrap().to_owned()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Shakes hands with a server that may die under it.
    pub(crate) fn try_handshake(&self, path: &str) -> Option<Socket> {
        let stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        tungstenite::client(request, stream).ok().map(|(socket, _)| Socket { socket })
    }

    /// A bare connection.
    pub(crate) fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes over a connection of their own and reads until the server ends it.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.open();
        // A server that refuses early may close before it has read everything.
        drop(stream.write_all(bytes));
        read_to_end(&mut stream)
    }
}

/// A process that does not outlive its test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Response {
    pub(crate) fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {self:?}")).to_owned()
    }

    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A WebSocket client.
pub(crate) struct Socket {
    socket: WebSocket<TcpStream>,
}

impl Socket {
    pub(crate) fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Value {
        let message = self.next_message();
        let Message::Text(text) = &message else {
            panic!("{message:?}");
        };
        serde_json::from_str(text).unwrap()
    }

    /// Sends to a server that may die under it.
    pub(crate) fn try_send(&mut self, frame: &Value) -> Option<()> {
        self.socket.send(Message::text(frame.to_string())).ok()
    }

    /// The next frame of a server that may die under it; null where it is none of text.
    pub(crate) fn try_next(&mut self) -> Option<Value> {
        let message = self.socket.read().ok()?;
        Some(message.into_text().ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// The next frame of this type; others are passed over.
    pub(crate) fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The next frame of any of these types; others are passed over.
    pub(crate) fn next_of_either(&mut self, kinds: &[&str]) -> Value {
        loop {
            let frame = self.next();
            if kinds.iter().any(|kind| frame["type"] == *kind) {
                return frame;
            }
        }
    }

    /// Frames up to one of this type, that one included.
    pub(crate) fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.next());
            if frames.last().is_some_and(|frame| frame["type"] == kind) {
                return frames;
            }
        }
    }

    /// The code and reason of the close frame; what comes before is passed over.
    pub(crate) fn close_code(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(close) = self.next_message() {
                let close = close.unwrap();
                return (close.code.into(), close.reason.to_string());
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub(crate) fn close(mut self) {
        self.socket.close(None).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// Says goodbye to a server that may die under it.
    pub(crate) fn try_close(mut self) {
        if self.socket.close(None).is_ok() {
            while self.socket.read().is_ok() {}
        }
    }

    /// Goes without a word.
    pub(crate) fn abandon(self) -> TcpStream {
        self.socket.into_inner()
    }

    fn next_message(&mut self) -> Message {
        loop {
            let message = self.socket.read().unwrap();
            if !(message.is_ping() || message.is_pong()) {
                return message;
            }
        }
    }
}

/// An HTTP client that keeps its connection.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .allow_non_standard_methods(true)
        .proxy(None)
        .build()
        .new_agent()
}

/// Sends a request by a client that keeps its connection.
pub(crate) fn request(
    agent: &ureq::Agent,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Response, ureq::Error> {
    let mut builder = ureq::http::Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let mut response = agent.run(builder.body(body.to_owned())?)?;
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let text = response.body_mut().read_to_string()?;
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Ok(Response { status: response.status().as_u16(), headers, body })
}

/// The binary with a data directory and nothing of the caller's environment that it would read.
pub(crate) fn command(data_dir: &Path, settings: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatapi"));
    command
        .arg("serve")
        .env_clear()
        .env("MASTER_API_KEY", MASTER_KEY)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("DATA_DIR", data_dir)
        .env("LOG_FORMAT", "json")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .current_dir(data_dir)
        .stdin(Stdio::null());
    command
}

/// Everything that comes until the other side ends the connection.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the server did not end the connection");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the lines of a log as they come.
fn follow(stdout: impl std::io::Read + Send + 'static) -> Receiver<Value> {
    let (lines, log) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if lines.send(value).is_err() {
                return;
            }
        }
    });
    log
}

fn await_line(log: &Receiver<Value>, message: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = log.recv_timeout(left).unwrap_or_else(|error| panic!("no {message:?} in the log: {error}"));
        if line["message"] == message {
            return line;
        }
    }
}

fn await_exit(process: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        thread::yield_now();
    }
    panic!("the server did not end");
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}
