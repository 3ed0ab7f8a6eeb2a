//! Drives the core from WebAssembly, so that the linker keeps all of it. `.ci/check-pure` builds this for a target that
//! has no operating system, and looks whether the module wants anything from outside: a clock, a file, a socket or
//! randomness would stand among its imports.

use chatapi_core::api::{Action, Body, ParseHost, RequestParts, encode, parse_request};
use chatapi_core::recording::{Redactor, Replay, header};
use chatapi_core::store::{StoreReply, StoreRequest};
use chatapi_core::ws::parse_client_frame;
use chatapi_core::{AllowedOrigins, Config, ConnId, Core, Effect, Entropy, Input, Now, RequestId};

struct Host;

impl Entropy for Host {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl ParseHost for Host {
    fn is_master_key(&self, given: &[u8]) -> bool {
        given == b"key"
    }

    fn is_metrics_token(&self, _given: &[u8]) -> bool {
        false
    }

    fn allowed_origins(&self) -> &AllowedOrigins {
        const { &AllowedOrigins::Listed(Vec::new()) }
    }
}

/// Boots a core, serves a request and a frame, and counts the bytes of its answers.
#[must_use]
pub fn run() -> usize {
    let now = Now::default();
    let mut core = Core::new(Config::default(), [7; 32], now);
    let body = Body::Complete(br#"{"name":"demo"}"#);
    let parts = RequestParts { method: "POST", target: "/admin/tenants", headers: &[("x-master-key", b"key")], body };
    let (meta, action) = parse_request(&parts, &mut Host);
    let mut inputs = vec![Input::Tick, Input::Shutdown];
    if let Action::Call(body) = action {
        inputs.push(Input::Request { request: RequestId(1), body });
    }
    inputs.push(Input::Frame { conn: ConnId(1), frame: Box::new(parse_client_frame(r#"{"type":"ping"}"#)) });
    let mut size_bytes = 0;
    loop {
        while let Some(effect) = core.poll_effect() {
            match effect {
                Effect::Respond { answer, .. } => size_bytes += encode(&meta, &answer).body.len(),
                Effect::Store { op, request: StoreRequest::Boot } => {
                    let booted = StoreReply::Booted { epoch: String::new(), newest_id: None };
                    inputs.push(Input::Stored { op, result: Ok(booted) });
                }
                Effect::Store { .. }
                | Effect::Accept { .. }
                | Effect::Send { .. }
                | Effect::Ping { .. }
                | Effect::Close { .. }
                | Effect::Report(_)
                | Effect::Stop => {}
            }
        }
        let Some(input) = inputs.pop() else {
            return size_bytes + replay(now);
        };
        core.handle(now, input);
    }
}

/// Replays the start of a run, and counts what turns out otherwise.
fn replay(now: Now) -> usize {
    let effects = Redactor::new(&[7; 32]).effects(&mut [Effect::Stop]);
    let mut replay = Replay::new();
    let line = header(&Config::default(), [7; 32], now, &effects);
    usize::from(replay.line(&line).is_err())
}

/// The module's one export.
#[allow(unsafe_code, reason = "an exported name is what keeps the linker from dropping everything")]
#[unsafe(no_mangle)]
pub extern "C" fn chatapi_core_run() -> usize {
    run()
}
