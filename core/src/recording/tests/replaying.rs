//! Replay finds the first step that turns out otherwise.

use super::redactor;
use crate::api::{Access, ApiRequest, Call, Credentials, PublicCall, UserHeader};
use crate::recording::{End, Line, Redactor, Replay, ReplayError, ReplaySummary, end, header, read_line, step};
use crate::store::{StoreReply, StoreRequest};
use crate::{Config, Core, Digest, Effect, Input, Micros, MonoMicros, Now, OpId, RequestId, UnixMillis};

const SEED: [u8; 32] = [9; 32];

fn at(mono: u64) -> Now {
    Now { mono: MonoMicros(mono), wall: UnixMillis(1_765_627_800_000) }
}

fn drain(core: &mut Core) -> Vec<Effect> {
    std::iter::from_fn(|| core.poll_effect()).collect()
}

/// Runs a core and records it, a line each.
fn record(redactor: &Redactor, inputs: &[(Now, Input)]) -> Vec<Vec<u8>> {
    let config = Config::default();
    let mut core = Core::new(config.clone(), SEED, at(1_000));
    let mut lines = vec![header(&config, SEED, at(1_000), &redactor.effects(&mut drain(&mut core)))];
    for (now, input) in inputs {
        core.handle(*now, input.clone());
        lines.push(step(*now, &redactor.input(input), Some(&redactor.effects(&mut drain(&mut core)))));
    }
    lines
}

fn script() -> Vec<(Now, Input)> {
    let booted = StoreReply::Booted { epoch: "e".to_owned(), newest_id: None };
    let request = |access, call| ApiRequest {
        access,
        credentials: Credentials {
            is_master: false,
            is_metrics_reader: false,
            api_key: Some(Digest::of(b"weak")),
            user: UserHeader::Absent,
        },
        call: Ok(call),
    };
    let start = [
        (at(1_500), Input::Stored { op: OpId(1), result: Ok(booted) }),
        (
            at(2_000),
            Input::Request {
                request: RequestId(1),
                body: Box::new(request(Access::User, Call::Public(PublicCall::Health))),
            },
        ),
    ];
    let op = tenant_is_looked_up(&start);
    let mut script = start.to_vec();
    script.extend([
        (at(2_500), Input::Stored { op, result: Ok(StoreReply::KeyOwner(None)) }),
        (
            at(2_250),
            Input::Request {
                request: RequestId(2),
                body: Box::new(request(Access::User, Call::Public(PublicCall::Health))),
            },
        ),
        (
            at(3_000),
            Input::Request {
                request: RequestId(3),
                body: Box::new(request(Access::Metrics, Call::Public(PublicCall::Metrics))),
            },
        ),
        (at(4_001_000), Input::Tick),
        (at(4_001_000), Input::Shutdown),
        (at(4_001_001), Input::Tick),
    ]);
    script
}

/// The name of the step by which the core finds out whose the first request's key is.
fn tenant_is_looked_up(inputs: &[(Now, Input)]) -> OpId {
    let mut core = Core::new(Config::default(), SEED, at(1_000));
    let mut effects = drain(&mut core);
    for (now, input) in inputs {
        core.handle(*now, input.clone());
        effects.extend(drain(&mut core));
    }
    let found = effects.iter().find_map(|effect| {
        let Effect::Store { op, request: StoreRequest::FindTenant { .. } } = effect else { return None };
        Some(*op)
    });
    found.unwrap()
}

fn replay(lines: &[Vec<u8>]) -> Result<ReplaySummary, ReplayError> {
    let mut replay = Replay::new();
    for line in lines {
        replay.line(line)?;
    }
    replay.finish(0)
}

fn diverges_at(lines: &[Vec<u8>]) -> u64 {
    match replay(lines) {
        Err(ReplayError::Diverged(divergence)) => divergence.line,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recorded_run_replays_to_its_end() {
    let mut lines = record(&redactor(), &script());
    lines.push(end(End::Shutdown));
    let summary = replay(&lines).unwrap();
    assert_eq!((summary.steps, summary.span, summary.end), (8, Micros(4_000_001), Some(End::Shutdown)));
    assert!(summary.effects >= 7, "{summary:?}");
    assert!(summary.to_string().starts_with("OK: 8 steps over 4.000001 s from 2025-12-13T12:10:00.000Z"), "{summary}");
}

#[test]
fn redacted_inputs_cause_exactly_the_redacted_effects_whatever_the_key() {
    for key in [[1; 32], [2; 32]] {
        assert!(replay(&record(&Redactor::new(&key), &script())).is_ok());
    }
}

#[test]
fn a_changed_digest_is_found_at_its_line() {
    let lines = record(&redactor(), &script());
    for (at, number) in (0..lines.len()).zip(1..) {
        let mut changed = lines.clone();
        let text = String::from_utf8(changed[at].clone()).unwrap();
        let (before, digest) = text.rsplit_once(r#""effects":""#).unwrap();
        let first = if digest.starts_with('0') { '1' } else { '0' };
        changed[at] = format!(r#"{before}"effects":"{first}{}"#, &digest[1..]).into_bytes();
        assert_eq!(diverges_at(&changed), number);
    }
}

#[test]
fn a_changed_input_is_found_at_the_first_line_whose_effects_differ() {
    let lines = record(&redactor(), &script());
    let changed = |at: usize, from: &str, to: &str| {
        let mut changed = lines.clone();
        let text = String::from_utf8(changed[at].clone()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        changed[at] = text.replace(from, to).into_bytes();
        changed
    };
    assert_eq!(diverges_at(&changed(2, r#""request":1"#, r#""request":7"#)), 4, "the answer goes to another request");
    assert_eq!(diverges_at(&changed(1, r#""op":1"#, r#""op":5"#)), 2, "it has not booted");
    assert_eq!(diverges_at(&changed(0, r#"need_token":false"#, r#"need_token":true"#)), 6);
    let mut left_out = lines;
    left_out.remove(3);
    assert_eq!(diverges_at(&left_out), 4);
}

#[test]
fn a_divergence_tells_where_when_what_and_what_came_out_instead() {
    let mut lines = record(&redactor(), &script());
    let text = String::from_utf8(lines[3].clone()).unwrap();
    let (before, after) = text.split_once(r#""result""#).unwrap();
    let (before, _) = before.rsplit_once(r#""op":"#).unwrap();
    lines[3] = format!(r#"{before}"op":99,"result"{after}"#).into_bytes();
    let Err(ReplayError::Diverged(divergence)) = replay(&lines) else {
        panic!("it replays");
    };
    let told = divergence.to_string();
    assert!(told.contains("line 4 turns out otherwise than recorded, 0.001500 s after the start"), "{told}");
    assert!(told.contains(r#"input:    {"Stored":{"op":99,"result":{"Ok":{"KeyOwner":null}}}}"#), "{told}");
    assert!(told.contains("now:      0 effects with the digest e3b0c44298fc1c149afbf4c8996fb924"), "{told}");
}

#[test]
fn a_step_that_broke_the_core_must_break_it_again() {
    let mut lines = record(&redactor(), &script()[..1]);
    lines.push(step(at(9_000), &redactor().input(&Input::Tick), None));
    assert_eq!(diverges_at(&lines), 3, "this core takes it well");
}

#[test]
fn what_is_no_recording_is_refused() {
    let lines = record(&redactor(), &script());
    assert!(matches!(Replay::new().finish(17).unwrap_err(), ReplayError::Empty));
    assert!(matches!(replay(&lines[1..]).unwrap_err(), ReplayError::NoHeader));
    let mut twice = lines.clone();
    twice.push(lines[0].clone());
    assert!(matches!(replay(&twice).unwrap_err(), ReplayError::Misplaced { line: 10 }));
    let mut past_the_end = lines.clone();
    past_the_end.insert(4, end(End::SizeLimit));
    assert!(matches!(replay(&past_the_end).unwrap_err(), ReplayError::Misplaced { line: 6 }));
    let mut cut = lines;
    cut[2].truncate(30);
    assert!(matches!(replay(&cut).unwrap_err(), ReplayError::Unreadable { line: 3, .. }));
    assert!(matches!(read_line(&end(End::SizeLimit)), Ok(Line::End(End::SizeLimit))));
}
