//! Nonsense in bodies.

use super::random::Random;
use super::wire::Request;
use super::{Expect, Site, nonsense};

/// A type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    Texts,
    Object,
    Any,
}

/// A body: where it goes, its fields with good values, which are all that it needs.
struct Body {
    method: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, Kind, &'static str)],
}

const BODIES: &[Body] = &[
    Body {
        method: "POST",
        path: "/admin/tenants",
        fields: &[("name", Kind::Text, "\"x\""), ("config", Kind::Object, "{\"rate_limit\":5}")],
    },
    Body {
        method: "PATCH",
        path: "/admin/tenants/TENANT",
        fields: &[("name", Kind::Text, "\"x\""), ("config", Kind::Object, "{\"rate_limit\":5}")],
    },
    Body {
        method: "POST",
        path: "/admin/tenants/TENANT/rotate-key",
        fields: &[("grace_seconds", Kind::Number, "5"), ("close_sockets", Kind::Flag, "false")],
    },
    Body {
        method: "POST",
        path: "/rooms",
        fields: &[
            ("type", Kind::Text, "\"group\""),
            ("members", Kind::Texts, "[\"bob\"]"),
            ("name", Kind::Text, "\"x\""),
            ("metadata", Kind::Text, "\"{}\""),
        ],
    },
    Body {
        method: "PATCH",
        path: "/rooms/ROOM",
        fields: &[("name", Kind::Text, "\"x\""), ("metadata", Kind::Text, "\"{}\"")],
    },
    Body {
        method: "POST",
        path: "/rooms/ROOM/members",
        fields: &[("user_id", Kind::Text, "\"dave\""), ("role", Kind::Text, "\"member\"")],
    },
    Body {
        method: "POST",
        path: "/rooms/ROOM/messages",
        fields: &[("content", Kind::Text, "\"x\""), ("meta", Kind::Text, "\"{}\"")],
    },
    Body {
        method: "PATCH",
        path: "/rooms/ROOM/messages/MESSAGE",
        fields: &[("content", Kind::Text, "\"x\""), ("meta", Kind::Text, "\"{}\"")],
    },
    Body { method: "POST", path: "/acks", fields: &[("room_id", Kind::Text, "\"ROOM\""), ("seq", Kind::Number, "2")] },
    Body {
        method: "POST",
        path: "/notify",
        fields: &[
            ("topic", Kind::Text, "\"t\""),
            ("payload", Kind::Any, "{\"a\":1}"),
            ("targets", Kind::Object, "{\"user_ids\":[\"bob\"],\"topic_subscribers\":true}"),
        ],
    },
    Body { method: "POST", path: "/subscriptions", fields: &[("topic", Kind::Text, "\"new\"")] },
];

impl Body {
    fn draw(random: &mut Random) -> &'static Self {
        &BODIES[random.below(BODIES.len())]
    }

    /// One of those that have a field of this kind, and which.
    fn with(random: &mut Random, kind: Kind) -> (&'static Self, usize) {
        let all: Vec<(&Self, usize)> = BODIES
            .iter()
            .flat_map(|body| (0..body.fields.len()).map(move |index| (body, index)))
            .filter(|(body, index)| body.fields[*index].1 == kind)
            .collect();
        all[random.below(all.len())]
    }

    /// The fields as they stand in JSON, in any order, one of them with another value.
    fn fields(&self, random: &mut Random, changed: Option<(usize, &str)>) -> Vec<String> {
        let mut fields: Vec<String> = self
            .fields
            .iter()
            .enumerate()
            .map(|(index, (name, _, good))| {
                let value = changed.filter(|(changed, _)| *changed == index).map_or(*good, |(_, value)| value);
                format!("\"{name}\":{value}")
            })
            .collect();
        let start = random.below(fields.len());
        fields.rotate_left(start);
        fields
    }

    fn text(&self, random: &mut Random, changed: Option<(usize, &str)>) -> String {
        format!("{{{}}}", self.fields(random, changed).join(","))
    }

    /// With a member more, somewhere.
    fn text_with(&self, random: &mut Random, extra: String) -> String {
        let mut fields = self.fields(random, None);
        let place = random.below(fields.len() + 1);
        fields.insert(place, extra);
        format!("{{{}}}", fields.join(","))
    }

    fn put(&self, site: &Site, text: impl Into<Vec<u8>>) -> Request {
        site.request(self.method, &site.path(self.path), text)
    }

    /// With `ROOM` in its text, where that is text.
    fn put_text(&self, site: &Site, text: &str) -> Request {
        self.put(site, site.path(text))
    }
}

#[test]
fn wrong_types_in_each_field_change_nothing() {
    nonsense("wrong types", Expect::Refusal, |site, random| {
        loop {
            let body = Body::draw(random);
            let index = random.below(body.fields.len());
            let value = random.json(2);
            let fits = match body.fields[index].1 {
                Kind::Text => value.starts_with('"'),
                Kind::Number => !value.contains(['"', '{', '[', '.', 'e']),
                Kind::Flag => value == "true" || value == "false",
                Kind::Texts => value.starts_with('['),
                Kind::Object => value.starts_with('{'),
                Kind::Any => true,
            };
            if !fits {
                let text = body.text(random, Some((index, &value)));
                return body.put_text(site, &text);
            }
        }
    });
}

#[test]
fn huge_numbers_change_nothing() {
    nonsense("huge numbers", Expect::Refusal, |site, random| {
        let number = random.huge_number();
        match random.below(5) {
            0 => {
                let setting = random.pick(&["rate_limit", "max_message_size", "retry_limit"]);
                let config = format!("{{\"{setting}\":{number}}}");
                let body = &BODIES[random.below(2)];
                let text = body.text(random, Some((1, &config)));
                body.put_text(site, &text)
            }
            1 => {
                let body = BODIES.iter().find(|body| body.path == "/notify").unwrap();
                let payload = format!("[{{\"a\":{number}}}]");
                let text = body.text(random, Some((1, &payload)));
                body.put_text(site, &text)
            }
            2 => site.request("DELETE", &format!("/subscriptions/{number}"), ""),
            3 => {
                let query = random.pick(&["limit=-", "after_seq=-", "before_seq=-", "limit=1.", "after_seq=1e"]);
                site.request("GET", &site.path(&format!("/rooms/ROOM/messages?{query}{number}")), "")
            }
            _ => {
                let (body, index) = Body::with(random, Kind::Number);
                let exponent = if random.chance(20) { "e400" } else { "" };
                let text = body.text(random, Some((index, &format!("{number}{exponent}"))));
                body.put_text(site, &text)
            }
        }
    });
}

#[test]
fn deep_nesting_changes_nothing() {
    nonsense("deep nesting", Expect::Refusal, |site, random| {
        let body = Body::draw(random);
        let depth = if random.chance(99) { random.between(64, 2_000) } else { random.between(2_000, 100_000) };
        let (open, close) = random.pick(&[&("[", "]"), &("{\"x\":", "}"), &("[{\"x\":", "}]")]);
        let end = if random.chance(80) { close.repeat(depth) } else { String::new() };
        let core = random.json(0);
        let text = body.text_with(random, format!("\"x\":{}{core}{end}", open.repeat(depth)));
        body.put_text(site, &text)
    });
}

#[test]
fn bad_utf_8_in_bodies_changes_nothing() {
    nonsense("bad UTF-8 in bodies", Expect::Refusal, |site, random| {
        let body = Body::draw(random);
        let mut bytes = site.path(&body.text(random, None)).into_bytes();
        let place = random.between(0, bytes.len());
        let bad = random.bad_utf_8();
        bytes.splice(place..place, bad.iter().copied());
        body.put(site, bytes)
    });
}

#[test]
fn duplicate_keys_change_nothing() {
    nonsense("duplicate keys", Expect::Refusal, |site, random| {
        let body = Body::draw(random);
        let (name, _, good) = body.fields[random.below(body.fields.len())];
        let escaped: String = name.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        let value = if random.chance(50) { good.to_owned() } else { random.json(1) };
        let extra = match random.below(4) {
            0 => format!("\"{name}\":{value}"),
            1 => format!("\"{escaped}\":{value}"),
            2 => format!("\"x\":{value},\"\\u0078\":{value}"),
            _ => format!("\"x\":[{{\"{name}\":1,\"{escaped}\":{value}}}]"),
        };
        let text = body.text_with(random, extra);
        body.put_text(site, &text)
    });
}

#[test]
fn lone_surrogates_change_nothing() {
    nonsense("lone surrogates", Expect::Refusal, |site, random| {
        let surrogate = random.lone_surrogate();
        let (before, after) = (random.text("ab😀", 2), random.text("ab😀", 2));
        let text = format!("\"{before}{surrogate}{after}\"");
        let (body, changed) = match random.below(3) {
            0 => {
                let (body, index) = Body::with(random, Kind::Text);
                (body, body.text(random, Some((index, &text))))
            }
            1 => {
                let body = Body::draw(random);
                (body, body.text_with(random, format!("{text}:1")))
            }
            _ => {
                let body = Body::draw(random);
                (body, body.text_with(random, format!("\"x\":[{text}]")))
            }
        };
        body.put_text(site, &changed)
    });
}

#[test]
fn empty_bodies_change_nothing() {
    nonsense("empty bodies", Expect::Refusal, |site, random| {
        let body = Body::draw(random);
        let length = random.between(1, 9);
        let white = random.text(" \t\r\n", length);
        // A rotation needs no body; of white space alone it is no JSON.
        let is_empty = !body.path.ends_with("/rotate-key") && random.chance(60);
        let request = body.put(site, if is_empty { "" } else { &white });
        match random.below(3) {
            0 if is_empty => request.with("Content-Length", "0"),
            1 if is_empty => request.with("Content-Type", "application/json"),
            _ => request,
        }
    });
}

#[test]
fn arrays_and_scalars_in_place_of_objects_change_nothing() {
    nonsense("no objects", Expect::Refusal, |site, random| {
        let body = Body::draw(random);
        let whole = body.text(random, None);
        let text = match random.below(5) {
            0 => format!("[{whole}]"),
            1 => format!("[{}]", random.json(1)),
            2 => random.pick(&["null", "true", "0", "\"\"", "[]", "-1.5e3"]).to_owned(),
            3 => serde_json::Value::from(whole).to_string(),
            _ => format!("{whole}{}", random.pick(&["{}", ",", "}", "x", "null", "\0"])),
        };
        body.put_text(site, &text)
    });
}

#[test]
fn oversized_fields_change_nothing() {
    nonsense("oversized fields", Expect::Refusal, |site, random| {
        let long = |least: usize, random: &mut Random| {
            let length = least + random.below(5_000);
            "x".repeat(length)
        };
        let many = |random: &mut Random| {
            let ids: Vec<String> = (0..10_001 + random.below(100)).map(|n| format!("\"u{n}\"")).collect();
            format!("[{}]", ids.join(","))
        };
        let choice = if random.chance(3) { random.between(0, 1) } else { random.between(2, 12) };
        let (path, value) = match choice {
            0 => ("/rooms", format!("{{\"type\":\"group\",\"members\":{}}}", many(random))),
            1 => {
                ("/notify", format!("{{\"topic\":\"t\",\"payload\":1,\"targets\":{{\"user_ids\":{}}}}}", many(random)))
            }
            2 => ("/rooms/ROOM/messages", format!("{{\"content\":\"{}\"}}", long(4_097, random))),
            3 => {
                ("/rooms/ROOM/messages", format!("{{\"content\":\"x\",\"meta\":\"\\\"{}\\\"\"}}", long(16_383, random)))
            }
            4 => (
                "/rooms",
                format!("{{\"type\":\"group\",\"members\":[],\"metadata\":\"\\\"{}\\\"\"}}", long(16_383, random)),
            ),
            5 => ("/rooms", format!("{{\"type\":\"group\",\"members\":[],\"name\":\"{}\"}}", long(201, random))),
            6 => ("/rooms", format!("{{\"type\":\"group\",\"members\":[\"{}\"]}}", long(129, random))),
            7 => ("/rooms/ROOM/members", format!("{{\"user_id\":\"{}\"}}", long(129, random))),
            8 => ("/notify", format!("{{\"topic\":\"t\",\"payload\":\"{}\"}}", long(65_535, random))),
            9 => ("/notify", format!("{{\"topic\":\"{}\",\"payload\":1}}", long(201, random))),
            10 => ("/subscriptions", format!("{{\"topic\":\"{}\"}}", long(201, random))),
            11 => ("/admin/tenants", format!("{{\"name\":\"{}\"}}", long(201, random))),
            _ => {
                let url = format!("https://x/{}", long(2_048, random));
                ("/admin/tenants", format!("{{\"name\":\"x\",\"config\":{{\"webhook_url\":\"{url}\"}}}}"))
            }
        };
        site.request("POST", &site.path(path), value)
    });
}

#[test]
fn control_characters_change_nothing() {
    nonsense("control characters", Expect::Refusal, |site, random| {
        // A tab is white space to HTTP; line breaks would end the header.
        let control = char::from(u8::try_from(random.below(32)).unwrap());
        let in_header = if "\t\r\n".contains(control) { '\u{7f}' } else { control };
        match random.below(5) {
            // Raw inside a string.
            0 => {
                let (body, index) = Body::with(random, Kind::Text);
                let text = body.text(random, Some((index, &format!("\"a{control}b\""))));
                body.put_text(site, &text)
            }
            1 => {
                let escaped = format!("\"a\\u{:04x}b\"", u32::from(control));
                let (path, text) = match random.below(3) {
                    0 => ("/rooms", format!("{{\"type\":\"group\",\"members\":[{escaped}]}}")),
                    1 => ("/rooms/ROOM/members", format!("{{\"user_id\":{escaped}}}")),
                    _ => (
                        "/notify",
                        format!("{{\"topic\":\"t\",\"payload\":1,\"targets\":{{\"user_ids\":[{escaped}]}}}}"),
                    ),
                };
                site.request("POST", &site.path(path), text)
            }
            2 => Request::new("GET", "/rooms", "")
                .with("X-API-Key", &site.tenant.api_key)
                .with("X-User-Id", format!("a{in_header}b")),
            3 => site.request("DELETE", &format!("/rooms/%{:02x}{}", u32::from(control), site.room), ""),
            _ => site.request("DELETE", &site.path(&format!("/rooms/ROOM/members/bob%{:02x}", u32::from(control))), ""),
        }
    });
}
