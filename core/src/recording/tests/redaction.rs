//! What a recording keeps to itself.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::redactor;
use super::samples::{self, API_KEY, TOKEN, WEBHOOK_SECRET, WEBHOOK_URL};
use crate::api::{Action, Body, ParseHost, RequestParts, parse_request};
use crate::config::AllowedOrigins;
use crate::effect::Effect;
use crate::id::{ConnId, RequestId};
use crate::input::Input;
use crate::recording::confidential::Confidential;
use crate::recording::{EffectsDigest, Redactor};
use crate::secret::{Digest, Entropy};

/// Every way in which a secret, or the digest of one, might be written.
fn spellings(secret: &str) -> Vec<String> {
    let digest = Digest::of(secret.as_bytes()).0;
    let mut spellings = vec![
        secret.to_owned(),
        crate::hex::encode(&digest),
        crate::hex::encode(&digest).to_uppercase(),
        STANDARD_NO_PAD.encode(digest),
        URL_SAFE_NO_PAD.encode(digest),
        serde_json::to_string(&digest).unwrap(),
        format!("{digest:?}"),
    ];
    // A beginning of it would be enough to check a guess.
    spellings.push(crate::hex::encode(&digest[..8]));
    spellings
}

fn redacted(input: &Input) -> String {
    String::from_utf8(redactor().input(input).as_bytes().to_vec()).unwrap()
}

#[test]
fn no_input_shows_a_secret_or_the_digest_of_one() {
    for input in samples::inputs() {
        let text = redacted(&input);
        for secret in [API_KEY, TOKEN, WEBHOOK_SECRET, WEBHOOK_URL, "hooks.example", "capability"] {
            for spelling in spellings(secret) {
                assert!(!text.contains(&spelling), "{secret} as {spelling} in {text}");
            }
        }
    }
}

#[test]
fn no_effect_is_digested_with_a_secret_or_the_digest_of_one() {
    let mut effects = samples::effects();
    let recorded = redactor().effects(&mut effects);
    assert_eq!(recorded.digest(), EffectsDigest::of(&effects));
    let text = serde_json::to_string(&effects).unwrap();
    for secret in [API_KEY, TOKEN, WEBHOOK_SECRET, WEBHOOK_URL, "hooks.example", "capability"] {
        for spelling in spellings(secret) {
            assert!(!text.contains(&spelling), "{secret} as {spelling} in {text}");
        }
    }
    let reveals = effects.iter().any(|effect| format!("{effect:?}").contains(API_KEY));
    assert!(!reveals);
}

#[test]
fn what_is_not_confidential_stays_as_it_is() {
    for input in samples::inputs() {
        let mut emptied = input.clone();
        let mut found = 0;
        emptied.for_each_confidential(&mut |_| found += 1);
        assert_eq!(emptied, input, "looking changes nothing");
        assert!(found == 0 || input.holds_confidential(), "{input:?}");
        if found == 0 {
            assert_eq!(redacted(&input), serde_json::to_string(&input).unwrap());
        }
    }
    let mut effects = samples::effects();
    let bodies = |effects: &[Effect]| serde_json::to_string(effects).unwrap().contains(&public_digest());
    assert!(bodies(&effects));
    redactor().effects(&mut effects);
    assert!(bodies(&effects), "replay computes the digest of a message's body by itself");
}

fn public_digest() -> String {
    crate::hex::encode(&Digest::of(b"a public text").0)
}

#[test]
fn a_stand_in_is_the_same_in_inputs_and_effects_of_a_recording_and_another_in_the_next() {
    let stand_in = |redactor: &Redactor| {
        let mut found = Vec::new();
        for input in samples::inputs() {
            let recorded = redactor.input(&input);
            let mut read: Input = serde_json::from_slice(recorded.as_bytes()).unwrap();
            read.for_each_confidential(&mut |confidential| found.push(name(confidential)));
        }
        let mut effects = samples::effects();
        redactor.effects(&mut effects);
        for effect in &mut effects {
            effect.for_each_confidential(&mut |confidential| found.push(name(confidential)));
        }
        found.sort();
        found.dedup();
        found
    };
    let (one, other) = (stand_in(&redactor()), stand_in(&Redactor::new(&[43; 32])));
    // An API key, a token, a webhook secret and an address.
    assert_eq!((one.len(), other.len()), (4, 4));
    assert!(one.iter().all(|name| !other.contains(name)));
}

fn name(confidential: Confidential<'_>) -> String {
    match confidential {
        Confidential::Credential(digest) => crate::hex::encode(&digest.0),
        Confidential::Address(url) => url.clone(),
    }
}

#[test]
fn the_stand_in_of_an_address_tells_whether_the_host_is_the_same_and_nothing_else() {
    let stand_in = |url: &str| redactor().stand_in_url(url);
    let host = |url: &str| url.split_once(".invalid/").unwrap().0.to_owned();
    let one = stand_in("https://a.example/x");
    assert_eq!(one, stand_in("https://a.example/x"));
    for (url, same_host) in [
        ("https://a.example/y", true),
        ("https://a.example?x", true),
        ("https://a.example", true),
        ("https://b.example/x", false),
        ("http://a.example/x", false),
        ("https://a.example:444/x", false),
    ] {
        let other = stand_in(url);
        assert_ne!(one, other, "{url}");
        assert_eq!(host(&one) == host(&other), same_host, "{url}");
        assert!(url::Url::parse(&other).is_ok(), "{other}");
    }
}

struct Host;

impl Entropy for Host {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl ParseHost for Host {
    fn is_master_key(&self, _given: &[u8]) -> bool {
        true
    }

    fn is_metrics_token(&self, _given: &[u8]) -> bool {
        false
    }

    fn allowed_origins(&self) -> &AllowedOrigins {
        const { &AllowedOrigins::Listed(Vec::new()) }
    }
}

#[test]
fn no_complaint_about_a_request_repeats_a_credential_of_its() {
    const SECRET: &str = "hunter2%zz";
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let hook = format!(r#"{{"name":"n","config":{{"webhook_secret":"{SECRET}"}}}}"#);
    let url = format!(r#"{{"name":"n","config":{{"webhook_url":"https://u:{SECRET}@h/"}}}}"#);
    let repeated = [("x-api-key", SECRET), ("x-api-key", SECRET)];
    let bearer = format!("Bearer {SECRET}");
    let token = format!("/ws?token={SECRET}");
    let tokens = format!("/ws?token={SECRET}&token={SECRET}");
    for (method, target, headers, body) in [
        ("GET", "/rooms", &repeated[..], ""),
        ("GET", "/rooms?limit=x", &repeated[..1], ""),
        ("POST", "/rooms", &repeated[..1], "{"),
        ("GET", "/nowhere", &repeated[..1], ""),
        ("PUT", "/rooms", &repeated[..1], ""),
        ("POST", "/admin/tenants", &[("x-master-key", SECRET), ("x-master-key", SECRET)], "{}"),
        ("POST", "/admin/tenants", &[("x-master-key", SECRET)], &hook),
        ("POST", "/admin/tenants", &[("x-master-key", SECRET)], &url),
        ("PATCH", "/admin/tenants/t", &[("x-master-key", SECRET)], &hook),
        ("PATCH", "/admin/tenants/t", &[("x-master-key", SECRET)], &url),
        ("GET", "/metrics", &[("authorization", bearer.as_str())], ""),
        ("GET", &token, &[], ""),
        ("GET", &token, &upgrade, ""),
        ("GET", &tokens, &upgrade, ""),
        ("GET", "/ws", &[&upgrade[..], &repeated[..]].concat(), ""),
        ("GET", "/ws?sync=x", &[&upgrade[..], &repeated[..1]].concat(), ""),
    ] {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let parts = RequestParts { method, target, headers: &headers, body: Body::Complete(body.as_bytes()) };
        let told = match parse_request(&parts, &mut Host).1 {
            Action::Answer(response) => String::from_utf8_lossy(&response.body).into_owned(),
            Action::Call(body) => redacted(&Input::Request { request: RequestId(1), body }),
            Action::Handshake(upgrade) => {
                redacted(&Input::Handshake { request: RequestId(1), conn: ConnId(2), body: upgrade.request })
            }
        };
        assert!(!told.contains("hunter2"), "{method} {target}: {told}");
    }
}
