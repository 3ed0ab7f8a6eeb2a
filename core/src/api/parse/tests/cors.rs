//! Preflights, and what the answers of the parser tell browsers.

use super::*;

const OTHER: (&str, &[u8]) = ("origin", b"https://other.example");
const OURS: (&str, &[u8]) = ("origin", APP.as_bytes());
const ASKED: (&str, &[u8]) = ("access-control-request-method", b"POST");

fn cors_headers(response: &HttpResponse) -> Vec<(&str, &str)> {
    let is_cors = |name: &str| name.starts_with("Access-Control-") || name == "Vary";
    let headers = response.headers.iter().filter(|(name, _)| is_cors(name));
    headers.map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn a_preflight_from_an_allowed_origin_is_told_the_methods_of_the_route() {
    for (target, methods) in [
        ("/rooms", "GET, HEAD, POST, OPTIONS"),
        ("/v1/rooms/r/messages?x", "GET, HEAD, POST, OPTIONS"),
        ("/acks", "POST, OPTIONS"),
        ("/ws/token", "POST, OPTIONS"),
        ("/ws", "GET, HEAD, OPTIONS"),
    ] {
        let response = answer("OPTIONS", target, &[OURS, ASKED, ("access-control-request-headers", b"x-api-key")]);
        assert_eq!(response.status, 204, "{target}");
        assert!(response.body.is_empty() && header(&response, "X-Request-Id").is_some());
        assert_eq!(
            cors_headers(&response),
            [
                ("Access-Control-Allow-Origin", APP),
                ("Vary", "Origin"),
                ("Access-Control-Allow-Methods", methods),
                ("Access-Control-Allow-Headers", "Content-Type, X-API-Key, X-User-Id, X-Request-Id, Idempotency-Key"),
                ("Access-Control-Max-Age", "600"),
            ],
            "{target}"
        );
    }
}

#[test]
fn a_preflight_from_another_origin_is_403() {
    let cases: [RawHeaders<'_>; 4] =
        [&[OTHER, ASKED], &[OURS, OURS, ASKED], &[("origin", b""), ASKED], &[("origin", b"\xff"), ASKED]];
    for headers in cases {
        let response = answer("OPTIONS", "/rooms", headers);
        assert_eq!(response.status, 403, "{headers:?}");
        assert!(std::str::from_utf8(&response.body).unwrap().contains("AUTHORIZATION_ERROR"));
        assert_eq!(cors_headers(&response), [("Vary", "Origin")]);
    }
}

#[test]
fn options_without_an_origin_or_a_method_is_no_preflight() {
    for headers in [&[][..], &[OURS], &[OTHER], &[ASKED]] {
        let response = answer("OPTIONS", "/rooms", headers);
        assert_eq!((response.status, header(&response, "Allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
        assert_eq!(header(&response, "Access-Control-Allow-Methods"), None);
    }
}

#[test]
fn an_unknown_path_is_404_for_preflights_too() {
    for origin in [OURS, OTHER] {
        assert_eq!(answer("OPTIONS", "/nowhere", &[origin, ASKED]).status, 404);
    }
}

#[test]
fn answers_that_ask_nobody_are_readable_by_an_allowed_origin_alone() {
    for (method, target, status) in
        [("GET", "/nowhere", 404), ("PUT", "/rooms", 405), ("GET", "/ws", 426), ("OPTIONS", "/rooms", 204)]
    {
        let response = answer(method, target, &[OURS]);
        assert_eq!(response.status, status);
        assert_eq!(
            cors_headers(&response),
            [
                ("Access-Control-Allow-Origin", APP),
                ("Vary", "Origin"),
                (
                    "Access-Control-Expose-Headers",
                    "X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After"
                ),
            ],
            "{method} {target}"
        );
        for headers in [&[OTHER][..], &[]] {
            let response = answer(method, target, headers);
            assert_eq!((response.status, cors_headers(&response)), (status, vec![("Vary", "Origin")]));
        }
    }
}
