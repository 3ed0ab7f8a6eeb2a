use super::*;
use crate::api::{Access, ApiRequest, Call, Credentials, PublicCall, UserHeader};
use crate::config::Config;
use crate::core::Core;
use crate::effect::Effect;
use crate::id::{ConnId, OpId, RequestId};
use crate::input::Input;
use crate::store::StoreReply;
use crate::time::{MonoMicros, Now, UnixMillis};
use crate::ws::{BacklogChoice, HandshakeCredentials, HandshakeRequest};

const MILLIS: u64 = 1_000;

/// A core that counts its time from zero, and what it wants of its store.
struct Driven {
    core: Core,
    ops: Vec<OpId>,
    answers: usize,
}

impl Driven {
    fn start() -> Self {
        let mut driven = Self { core: Core::new(Config::default(), [7; 32], at(0)), ops: Vec::new(), answers: 0 };
        driven.drain();
        driven
    }

    fn input(&mut self, micros: u64, input: Input) {
        self.core.handle(at(micros), input);
        self.drain();
    }

    fn ask(&mut self, micros: u64, request: u64, access: Access, call: Call) {
        let credentials =
            Credentials { is_master: false, is_metrics_reader: false, api_key: None, user: UserHeader::Absent };
        let body = Box::new(ApiRequest { access, credentials, call: Ok(call) });
        self.input(micros, Input::Request { request: RequestId(request), body });
    }

    fn stored(&mut self, micros: u64, reply: StoreReply) {
        let op = self.ops.remove(0);
        self.input(micros, Input::Stored { op, result: Ok(reply) });
    }

    /// Answers the boot, and what the core then wants to know.
    fn booted(&mut self, micros: u64) {
        self.stored(micros, StoreReply::Booted { epoch: "e".to_owned(), newest_id: None });
        self.stored(micros, StoreReply::Expansions(Vec::new()));
        self.stored(micros, StoreReply::Swept { has_more: false });
    }

    fn drain(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            if let Effect::Store { op, .. } = &effect {
                self.ops.push(*op);
            }
            self.answers += usize::from(matches!(effect, Effect::Respond { .. }));
        }
    }
}

fn at(micros: u64) -> Now {
    Now { mono: MonoMicros(micros), wall: UnixMillis(0) }
}

fn histogram(latencies: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for latency in latencies {
        histogram.observe(Micros(*latency));
    }
    histogram
}

#[test]
fn a_request_is_measured_from_its_arrival_to_its_answer_and_a_step_from_its_submission_to_its_reply() {
    let mut driven = Driven::start();
    driven.booted(3 * MILLIS);
    driven.ask(10 * MILLIS, 1, Access::Public, Call::Public(PublicCall::Health));
    driven.ask(14 * MILLIS, 2, Access::Public, Call::Public(PublicCall::Health));
    driven.ask(15 * MILLIS, 3, Access::Public, Call::Public(PublicCall::Livez));
    let under_way = driven.core.metrics();
    assert_eq!((under_way.pending_store_writes, under_way.pending_store_reads), (1, 0));
    assert_eq!((under_way.rest_latency, under_way.store_latency), (histogram(&[0]), histogram(&[3 * MILLIS, 0, 0])));
    driven.stored(30 * MILLIS, StoreReply::Written);
    let done = driven.core.metrics();
    assert_eq!(done.rest_latency, histogram(&[0, 20 * MILLIS, 16 * MILLIS]));
    assert_eq!(done.store_latency, histogram(&[3 * MILLIS, 0, 0, 20 * MILLIS]));
    assert_eq!((done.pending_store_writes, done.requests_answered), (0, 3));
}

#[test]
fn a_reply_that_comes_too_late_is_measured_all_the_same_and_the_answer_when_it_was_given() {
    let mut driven = Driven::start();
    driven.booted(0);
    driven.ask(0, 1, Access::Public, Call::Public(PublicCall::Health));
    driven.input(2_000 * MILLIS, Input::Tick);
    driven.input(10_000 * MILLIS, Input::Tick);
    driven.stored(12_000 * MILLIS, StoreReply::Written);
    let metrics = driven.core.metrics();
    assert_eq!(metrics.rest_latency, histogram(&[2_000 * MILLIS]));
    assert_eq!(metrics.store_latency, histogram(&[0, 0, 0, 12_000 * MILLIS]));
    assert_eq!(metrics.late_store_replies, 1);
}

#[test]
fn a_handshake_is_no_request_that_is_measured() {
    let mut driven = Driven::start();
    let body = Box::new(HandshakeRequest {
        origin: None,
        credentials: HandshakeCredentials::Missing,
        backlog: Ok(BacklogChoice::Stream),
    });
    driven.input(MILLIS, Input::Handshake { request: RequestId(1), conn: ConnId(1), body });
    let metrics = driven.core.metrics();
    assert_eq!((driven.answers, metrics.requests_answered, metrics.rest_latency.count()), (1, 1, 0));
}

#[test]
fn what_a_shutdown_answers_is_measured_too() {
    let mut driven = Driven::start();
    driven.ask(MILLIS, 1, Access::Public, Call::Public(PublicCall::Health));
    driven.input(2 * MILLIS, Input::Shutdown);
    driven.input(60_000 * MILLIS, Input::Tick);
    assert_eq!((driven.answers, driven.core.metrics().rest_latency.count()), (1, 1));
}
