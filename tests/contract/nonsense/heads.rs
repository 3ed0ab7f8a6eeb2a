//! Nonsense in methods, paths, queries, ids and headers.

use super::random::Random;
use super::wire::Request;
use super::{Expect, MASTER_KEY, Site, nonsense};
use crate::world::{Caller, ROUTES, Route};

/// Routes that are about something that an id names.
fn about_ids(random: &mut Random) -> &'static Route {
    let all: Vec<&Route> = ROUTES.iter().filter(|route| route.names_room()).collect();
    random.pick(&all)
}

/// A request on the things of these ids; the tenant's own act or alice's.
fn on(site: &Site, random: &mut Random, route: &Route, room: &str, message: &str) -> Request {
    let names = |text: &str| text.replace("ROOM", room).replace("MESSAGE", message);
    let request = Request::new(route.method, &names(route.path), names(route.body));
    let request = request.with("X-API-Key", &site.tenant.api_key);
    if route.caller == Caller::Tenant && random.chance(50) { request } else { request.with("X-User-Id", "alice") }
}

/// A `GET` that takes a query.
fn list(site: &Site, random: &mut Random) -> String {
    let path = random.pick(&[
        "/rooms",
        "/rooms/ROOM/members",
        "/rooms/ROOM/presence",
        "/rooms/ROOM/receipts",
        "/rooms/ROOM/messages",
        "/admin/tenants",
        "/subscriptions",
        "/metrics",
    ]);
    site.path(path)
}

#[test]
fn bad_utf_8_in_headers_changes_nothing() {
    nonsense("bad UTF-8 in headers", Expect::Anything, |site, random| {
        let (before, bad) = (random.text("abc", 3), random.bad_utf_8());
        let value = [before.as_bytes(), bad, before.as_bytes()].concat();
        let list = list(site, random);
        match random.below(5) {
            0 => Request::new("GET", "/rooms", "").with("X-API-Key", &site.tenant.api_key).with("X-User-Id", &value),
            1 => Request::new("POST", "/rooms", r#"{"type":"group","members":[]}"#)
                .with("X-API-Key", &value)
                .with("X-User-Id", "x"),
            2 => Request::new("POST", "/admin/tenants", r#"{"name":"x"}"#).with("X-Master-Key", &value),
            3 => {
                let path = site.path("/rooms/ROOM/messages");
                site.request("POST", &path, r#"{"content":"x"}"#).with("Idempotency-Key", &value)
            }
            _ => {
                let name = random.pick(&["X-Request-Id", "Origin", "Accept", "Authorization", "Cookie", "X-Odd"]);
                site.request("GET", &list, "").with(name, &value)
            }
        }
    });
}

#[test]
fn bad_utf_8_in_paths_changes_nothing() {
    nonsense("bad UTF-8 in paths", Expect::Refusal, |site, random| {
        let mut bad = random.bad_utf_8().to_vec();
        if random.chance(70) {
            bad = bad.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect();
        }
        let segment = [random.id(4).as_bytes(), &bad].concat();
        let (before, after) = *random.pick(&[
            &("/rooms/", ""),
            &("/rooms/", "/members"),
            &("/rooms/ROOM/members/", ""),
            &("/rooms/ROOM/messages/", ""),
            &("/subscriptions/", ""),
            &("/admin/tenants/", ""),
            &("/", ""),
        ]);
        let method = random.pick(&["GET", "PATCH", "DELETE"]);
        let mut request = site.request(method, "", if method == "PATCH" { r#"{"content":"x"}"# } else { "" });
        request.target = [site.path(before).as_bytes(), &segment, after.as_bytes()].concat();
        request
    });
}

#[test]
fn ids_of_another_tenant_change_nothing() {
    nonsense("foreign ids", Expect::Refusal, |site, random| {
        if random.chance(10) {
            // Alice of the other tenant has dozens; this one's counts from 1 as well.
            return site.request("DELETE", &format!("/subscriptions/{}", random.between(2, 51)), "");
        }
        let route = about_ids(random);
        if route.path.contains("MESSAGE") && random.chance(50) {
            return on(site, random, route, &site.room, &site.foreign_message);
        }
        let message = if random.chance(50) { &site.foreign_message } else { &site.message };
        on(site, random, route, &site.foreign_room, message)
    });
}

#[test]
fn long_ids_change_nothing() {
    nonsense("long ids", Expect::Refusal, |site, random| {
        let most = if random.chance(90) { 2_000 } else { 15_000 };
        let length = random.between(200, most);
        let id = random.id(length);
        match random.below(5) {
            0 => {
                let route = about_ids(random);
                on(site, random, route, &format!("room_{id}"), &site.message)
            }
            1 => site.request("DELETE", &site.path(&format!("/rooms/ROOM/members/{id}")), ""),
            2 => site.request(random.pick(&["GET", "DELETE"]), &format!("/admin/tenants/tenant_{id}"), ""),
            3 => Request::new("POST", "/subscriptions", r#"{"topic":"x"}"#)
                .with("X-API-Key", &site.tenant.api_key)
                .with("X-User-Id", &id),
            _ => site.request("POST", "/acks", format!(r#"{{"room_id":"{id}{id}","seq":1}}"#)),
        }
    });
}

#[test]
fn unknown_ids_change_nothing() {
    nonsense("unknown ids", Expect::Refusal, |site, random| {
        let id = random.id(16);
        let odd = random.pick(&[
            "room_",
            "msg_",
            "..",
            ".",
            "%2e%2e",
            "%2F",
            "%00",
            "'--",
            "%22",
            "*",
            "null",
            "0",
            "-1",
            "%F0%9F%98%80",
        ]);
        let id = if random.chance(30) { odd.to_owned() } else { id };
        match random.below(6) {
            0 => site.request(random.pick(&["GET", "DELETE"]), &format!("/admin/tenants/tenant_{id}"), ""),
            1 => site.request("POST", &format!("/admin/tenants/{id}/rotate-key"), ""),
            2 => site.request("DELETE", &format!("/subscriptions/{}", 1_000_000 + random.below(1_000_000)), ""),
            3 => site.request("DELETE", &site.path(&format!("/rooms/ROOM/members/{id}x")), ""),
            4 => {
                let routes: Vec<&Route> = ROUTES.iter().filter(|route| route.path.contains("MESSAGE")).collect();
                let route = *random.pick(&routes.iter().collect::<Vec<_>>());
                on(site, random, route, &site.room, &id)
            }
            _ => {
                let route = about_ids(random);
                on(site, random, route, &id, &site.message)
            }
        }
    });
}

#[test]
fn wrong_methods_change_nothing() {
    nonsense("wrong methods", Expect::Refusal, |site, random| {
        loop {
            let route = &ROUTES[random.below(ROUTES.len())];
            let length = random.between(1, 12);
            let unknown = random.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_!", length);
            let method = match random.below(3) {
                0 => random.pick(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"]).to_owned(),
                1 => unknown,
                _ => random.pick(&["get", "Post", "dELETE", "QUERY", "PROPFIND", "LINK", "PRI", "M-SEARCH"]).to_owned(),
            };
            let is_served = |known: &Route| {
                known.path == route.path && (known.method == method || known.method == "GET" && method == "HEAD")
            };
            if !ROUTES.iter().any(is_served) && method != "OPTIONS" {
                return site.request(&method, &site.path(route.path), site.path(route.body));
            }
        }
    });
}

#[test]
fn unknown_paths_change_nothing() {
    nonsense("unknown paths", Expect::Refusal, |site, random| {
        let route = &ROUTES[random.below(ROUTES.len())];
        let path = site.path(route.path);
        let word = random.id(5);
        let path = match random.below(9) {
            0 => format!("/v2{path}"),
            1 => format!("/v1/v1{path}"),
            2 => format!("/{path}"),
            3 => format!("/{word}{path}"),
            4 => format!("{path}/{word}/{word}/{word}"),
            5 => format!("/%{:02x}{}", path.as_bytes()[1], &path[2..]),
            6 => path[..2].to_uppercase() + &path[2..],
            7 => format!("{path}%"),
            _ => format!("/{word}/../{word}"),
        };
        // With another letter at its end it names another thing, which is not there, but a known path for GET.
        let method = if path.ends_with('%') { "PUT" } else { route.method };
        site.request(method, &path, site.path(route.body))
    });
}

#[test]
fn odd_queries_change_nothing() {
    nonsense("odd queries", Expect::Anything, |site, random| {
        let count = random.between(1, 6);
        let query: Vec<String> = (0..count)
            .map(|_| {
                let name = random.pick(&[
                    "limit",
                    "after",
                    "after_seq",
                    "before_seq",
                    "l%69mit",
                    "",
                    "x",
                    "%",
                    "limit[]",
                    "api_key",
                ]);
                let length = random.below(12);
                format!(
                    "{name}{}{}",
                    random.pick(&["=", "", "=="]),
                    random.text("0123456789-+%&=;?/:@!$'()*,~._aZ", length)
                )
            })
            .collect();
        let path = list(site, random);
        site.request("GET", &format!("{path}?{}", query.join(random.pick(&["&", "&&", ";", "?"]))), "")
    });
}

#[test]
fn cursors_of_nonsense_change_nothing() {
    nonsense("cursors", Expect::Anything, |site, random| {
        let length = random.below(60);
        let cursor = match random.below(6) {
            0 => String::new(),
            1 => random.id(length),
            2 => format!("room_{}", random.id(16)),
            3 => format!("%{:02x}%{:02x}", random.below(256), random.below(256)),
            4 => site.foreign_room.clone(),
            _ => random.text("0123456789-+%=/:@!$'()*,~._aZ", length),
        };
        let path = list(site, random);
        site.request("GET", &format!("{path}?after={cursor}&limit={}", random.between(1, 2_000)), "")
    });
}

#[test]
fn odd_headers_change_nothing() {
    nonsense("odd headers", Expect::Anything, |site, random| {
        let (name, value) = *random.pick(&[
            &("Accept", ";;;q=,,*/*;q=9"),
            &("Accept", "text/plain;q=nan, application/openmetrics-text;version="),
            &("Accept-Encoding", "gzip, deflate, br;q=1.0, *;q=0"),
            &("Authorization", "Bearer"),
            &("Authorization", "Digest username=\"x\""),
            &("Connection", "X-API-Key, , close"),
            &("Connection", "upgrade"),
            &("Content-Length", "x"),
            &("Content-Length", "-1"),
            &("Content-Length", "99999999999999999999999999"),
            &("Content-Length", "1, 2"),
            &("Content-Type", "multipart/form-data; boundary="),
            &("Cookie", "a=b; ; =; c"),
            &("Expect", "the-unexpected"),
            &("Host", "y"),
            &("If-None-Match", "*"),
            &("Origin", "https://evil.example"),
            &("Range", "bytes=9-1,-"),
            &("Transfer-Encoding", "gzip"),
            &("Transfer-Encoding", "chunked, chunked"),
            &("Upgrade", "h2c, websocket, , x"),
            &("X-API-Key", "sk_again"),
            &("X-Forwarded-For", "::1, unknown"),
            &("X-HTTP-Method-Override", "DELETE"),
            &("X-User-Id", "bob"),
            &("X-Request-Id", ""),
            &("Idempotency-Key", ""),
            &("X'!#$%&*+-.^_`|~", ""),
            &("Bad Name", "x"),
            &("", "x"),
        ]);
        let path = list(site, random);
        let request = match random.below(3) {
            0 => site.request("POST", &site.path("/rooms/ROOM/messages"), "{"),
            _ => site.request("GET", &path, ""),
        };
        let mut request = request.with(name, value);
        let repeats = if random.chance(10) { random.between(1, 140) } else { 0 };
        for _ in 0..repeats {
            let length = random.below(200);
            request = request.with("X-More", "x".repeat(length));
        }
        request
    });
}

#[test]
fn wrong_keys_change_nothing() {
    nonsense("wrong keys", Expect::Refusal, |site, random| {
        let spoil = |key: &str, random: &mut Random| match random.below(6) {
            0 => key[..random.below(key.len())].to_owned(),
            1 => format!("{key}{}", random.id(1)),
            2 => key.to_ascii_uppercase() + "x",
            3 => {
                let length = random.between(1, 200);
                format!("sk_{}", random.id(length))
            }
            4 => format!("Bearer {key}"),
            _ => {
                let place = random.below(key.len());
                format!("{}{}{}", &key[..place], if &key[place..=place] == "x" { "y" } else { "x" }, &key[place + 1..])
            }
        };
        let routes: Vec<&Route> = ROUTES.iter().filter(|route| route.caller != Caller::Public).collect();
        let route = routes[random.below(routes.len())];
        let request =
            Request::new(route.method, &site.path(route.path), site.path(route.body)).with("X-User-Id", "alice");
        if route.caller == Caller::Master {
            request.with("X-Master-Key", spoil(MASTER_KEY, random)).with("X-API-Key", &site.tenant.api_key)
        } else {
            request.with("X-API-Key", spoil(&site.tenant.api_key, random)).with("X-Master-Key", MASTER_KEY)
        }
    });
}
