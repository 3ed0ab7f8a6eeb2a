//! The lines themselves.

use super::{comes_back, redactor, samples};
use crate::config::{AllowedOrigins, Config};
use crate::recording::{EffectsDigest, End, FORMAT, Header, Line, ReadLineError, Step, end, header, read_line, step};
use crate::time::{MonoMicros, Now, UnixMillis};

const NOW: Now = Now { mono: MonoMicros(u64::MAX), wall: UnixMillis(i64::MIN) };

#[test]
fn every_line_that_is_written_is_read_again() {
    let config = Config { allowed_origins: AllowedOrigins::Listed(vec!["https://a".to_owned()]), ..Config::default() };
    let effects = redactor().effects(&mut samples::effects());
    let text = header(&config, [7; 32], NOW, &effects);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let expected = Header { format: FORMAT, version, config, seed: [7; 32], now: NOW, effects: effects.digest() };
    assert_eq!(read_line(&text).unwrap(), Line::Header(expected));
    for input in samples::inputs() {
        let recorded = redactor().input(&input);
        for effects in [Some(&effects), None] {
            let text = step(NOW, &recorded, effects);
            assert_eq!(text.iter().position(|byte| *byte == b'\n'), Some(text.len() - 1), "one line");
            let line = read_line(&text).unwrap();
            comes_back(&line);
            let input = serde_json::from_slice(recorded.as_bytes()).unwrap();
            assert_eq!(line, Line::Step(Step { now: NOW, input, effects: effects.map(|effects| effects.digest()) }));
        }
    }
    for reason in [End::Shutdown, End::SizeLimit] {
        assert_eq!(read_line(&end(reason)).unwrap(), Line::End(reason));
    }
}

#[test]
fn a_line_is_readable_text() {
    let input = crate::Input::Stored {
        op: crate::OpId(3),
        result: Ok(crate::store::StoreReply::Frames(vec![vec![(crate::Seq(1), pong())]])),
    };
    let now = Now { mono: MonoMicros(81), wall: UnixMillis(5) };
    let text = step(now, &redactor().input(&input), Some(&redactor().effects(&mut [])));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        concat!(
            r#"{"step":{"now":{"mono":81,"wall":5},"#,
            r#""input":{"Stored":{"op":3,"result":{"Ok":{"Frames":[[[1,"{\"type\":\"pong\"}"]]]}}}},"#,
            r#""effects":"e3b0c44298fc1c149afbf4c8996fb924"}}"#,
            "\n"
        )
    );
}

fn pong() -> crate::ws::Frame {
    serde_json::from_str(r#""{\"type\":\"pong\"}""#).unwrap()
}

#[test]
fn a_header_of_another_format_says_so_whatever_else_is_in_it() {
    let error = read_line(br#"{"header":{"format":2,"news":[]}}"#).unwrap_err();
    assert!(matches!(error, ReadLineError::Format(2)), "{error}");
    for text in [&b""[..], b"null", b"{}", br#"{"step":{}}"#, br#"{"header":{"format":1}}"#, b"{\"end\":\"shutdown\"}x"]
    {
        assert!(matches!(read_line(text).unwrap_err(), ReadLineError::Line(_)), "{text:?}");
    }
}

#[test]
fn other_effects_or_another_order_give_another_digest() {
    let effects = samples::effects();
    let mut digests: Vec<String> = (0..effects.len()).map(|at| EffectsDigest::of(&effects[at..]).to_string()).collect();
    let mut turned = effects.clone();
    turned.swap(0, 1);
    digests.push(EffectsDigest::of(&turned).to_string());
    digests.push(EffectsDigest::of(&[]).to_string());
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
