use super::*;
use crate::api::answer::{Health, PresenceStatus, Success, TenantCreated, TenantShown};
use crate::config::AllowedOrigins;
use crate::id::{MessageId, NotificationId, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::metrics::{Histogram, MetricsSnapshot, ProcessGauges};
use crate::model::{
    ListedRoom, Member, Message, ReadPosition, Role, Room, RoomType, Subscription, Tenant, TenantConfig,
};
use crate::secret::{Entropy, Secret};
use crate::store::{MemberPage, MessagePage, Receipt, ReceiptPage, TenantPage};
use crate::time::{Micros, UnixMillis};

struct Host(AllowedOrigins);

impl Entropy for Host {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl ParseHost for Host {
    fn is_master_key(&self, _given: &[u8]) -> bool {
        false
    }

    fn is_metrics_token(&self, _given: &[u8]) -> bool {
        false
    }

    fn allowed_origins(&self) -> &AllowedOrigins {
        &self.0
    }
}

fn list() -> AllowedOrigins {
    AllowedOrigins::Listed(vec!["https://app.example".to_owned()])
}

fn meta() -> ResponseMeta {
    ResponseMeta {
        request_id: "r-1".to_owned(),
        is_head: false,
        cors: Cors::Silent,
        metrics_format: MetricsFormat::Json,
    }
}

fn answered(result: Result<Success, ApiError>) -> HttpResponse {
    let rate_limit = None;
    encode(&meta(), &Answer { rate_limit, result })
}

fn text(response: &HttpResponse) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let mut values = response.headers.iter().filter(|(known, _)| *known == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert_eq!(values.next(), None, "{name} stands twice");
    value
}

fn room(id: &str) -> Room {
    Room {
        room_id: RoomId::new(id),
        kind: RoomType::Group,
        unique_key: None,
        name: None,
        metadata: None,
        last_seq: Seq(4),
        created_at: UnixMillis(0),
    }
}

fn message() -> Message {
    Message {
        message_id: MessageId::new("msg_1"),
        room_id: RoomId::new("room_1"),
        sender_id: UserId::new("alice"),
        seq: Seq(7),
        content: "Hello \u{0}\"é".to_owned(),
        meta: None,
        created_at: UnixMillis(1_765_627_800_123),
        edited_at: None,
        deleted_at: None,
    }
}

fn subscription() -> Subscription {
    Subscription {
        id: 3,
        subscriber_id: UserId::new("bob"),
        topic: "order.\"shipped\"".to_owned(),
        created_at: UnixMillis(0),
    }
}

fn tenant(id: &str) -> Tenant {
    Tenant {
        key: TenantKey(7),
        tenant_id: TenantId::new(id),
        name: "acme".to_owned(),
        config: TenantConfig { rate_limit: Some(100), ..TenantConfig::default() },
        created_at: UnixMillis(0),
    }
}

fn member(id: &str, role: Role) -> Member {
    Member { user_id: UserId::new(id), role, joined_at: UnixMillis(1) }
}

#[test]
fn every_success_has_the_status_and_the_body_of_the_protocol() {
    let dm = Room {
        kind: RoomType::Dm,
        unique_key: Some("dm:a:b".to_owned()),
        name: Some("n".to_owned()),
        metadata: Some("{ }".to_owned()),
        ..room("room_2")
    };
    let touched = Message {
        meta: Some("[]".to_owned()),
        edited_at: Some(UnixMillis(1)),
        deleted_at: Some(UnixMillis(2)),
        ..message()
    };
    let room_1 = r#"{"room_id":"room_1","type":"group","unique_key":null,"name":null,"metadata":null,"last_seq":4,"created_at":"1970-01-01T00:00:00.000Z"}"#;
    let room_2 = r#"{"room_id":"room_2","type":"dm","unique_key":"dm:a:b","name":"n","metadata":"{ }","last_seq":4,"created_at":"1970-01-01T00:00:00.000Z"}"#;
    let plain = r#"{"message_id":"msg_1","room_id":"room_1","sender_id":"alice","seq":7,"content":"Hello \u0000\"é","meta":null,"created_at":"2025-12-13T12:10:00.123Z"}"#;
    let full = r#"{"message_id":"msg_1","room_id":"room_1","sender_id":"alice","seq":7,"content":"Hello \u0000\"é","meta":"[]","created_at":"2025-12-13T12:10:00.123Z","edited_at":"1970-01-01T00:00:00.001Z","deleted_at":"1970-01-01T00:00:00.002Z"}"#;
    let bob = r#"{"user_id":"bob","role":"member","joined_at":"1970-01-01T00:00:00.001Z"}"#;
    let subscribed =
        r#"{"id":3,"subscriber_id":"bob","topic":"order.\"shipped\"","created_at":"1970-01-01T00:00:00.000Z"}"#;
    for (success, status, body) in [
        (Success::Alive, 200, r#"{"status":"ok"}"#.to_owned()),
        (Success::Ready, 200, r#"{"status":"ok"}"#.to_owned()),
        (Success::RoomCreated(Box::new(room("room_1"))), 201, room_1.to_owned()),
        (Success::Room(Box::new(dm)), 200, room_2.to_owned()),
        (Success::Message(Box::new(message())), 200, plain.to_owned()),
        (Success::Message(Box::new(touched.clone())), 200, full.to_owned()),
        (
            Success::Messages(MessagePage { messages: vec![message(), touched], has_more: true }),
            200,
            format!(r#"{{"messages":[{plain},{full}],"has_more":true}}"#),
        ),
        (
            Success::Messages(MessagePage { messages: vec![], has_more: false }),
            200,
            r#"{"messages":[],"has_more":false}"#.to_owned(),
        ),
        (
            Success::Acknowledged { room_id: RoomId::new("room_1"), last_ack: Seq(3) },
            200,
            r#"{"success":true,"room_id":"room_1","last_ack":3}"#.to_owned(),
        ),
        (
            Success::KeyRotated { tenant_id: TenantId::new("tenant_1"), api_key: Secret::new("sk_x".to_owned()) },
            200,
            r#"{"tenant_id":"tenant_1","api_key":"sk_x"}"#.to_owned(),
        ),
        (Success::MemberAdded(member("bob", Role::Member)), 201, bob.to_owned()),
        (Success::Member(member("bob", Role::Member)), 200, bob.to_owned()),
        (
            Success::Notified { notification_id: NotificationId::new("notif_1"), created_at: UnixMillis(0) },
            202,
            r#"{"notification_id":"notif_1","created_at":"1970-01-01T00:00:00.000Z"}"#.to_owned(),
        ),
        (Success::SubscriptionCreated(subscription()), 201, subscribed.to_owned()),
        (Success::Subscription(subscription()), 200, subscribed.to_owned()),
        (
            Success::Subscriptions(vec![subscription(), subscription()]),
            200,
            format!(r#"{{"subscriptions":[{subscribed},{subscribed}]}}"#),
        ),
        (Success::Subscriptions(vec![]), 200, r#"{"subscriptions":[]}"#.to_owned()),
        (Success::Token(Secret::new("wst_x".to_owned())), 200, r#"{"token":"wst_x","expires_in":60}"#.to_owned()),
    ] {
        let response = answered(Ok(success));
        assert_eq!((response.status, text(&response)), (status, body.as_str()));
        assert_eq!(header(&response, "Content-Type"), Some("application/json"));
        assert_eq!(header(&response, "X-Request-Id"), Some("r-1"));
        assert_eq!(header(&response, "RateLimit-Limit"), None);
        assert!(!response.close && !response.is_head);
    }
}

#[test]
fn a_page_ends_with_its_last_id_as_next_only_where_more_follow() {
    let positioned =
        ListedRoom { room: room("room_1"), position: Some(ReadPosition { last_ack: Seq(1), unread_count: 3 }) };
    let unpositioned = ListedRoom { room: room("room_0"), position: None };
    let rooms = |rooms: Vec<ListedRoom>, has_more| {
        let response = answered(Ok(Success::Rooms { rooms, has_more }));
        text(&response).to_owned()
    };
    let body = rooms(vec![positioned.clone(), unpositioned], true);
    assert!(body.contains(r#""created_at":"1970-01-01T00:00:00.000Z","last_ack":1,"unread_count":3},{"#), "{body}");
    assert!(body.ends_with(r#""created_at":"1970-01-01T00:00:00.000Z"}],"next":"room_0"}"#), "{body}");
    assert!(rooms(vec![positioned], false).ends_with(r#"],"next":null}"#));
    assert_eq!(rooms(vec![], false), r#"{"rooms":[],"next":null}"#);

    let members = |has_more| {
        let members = vec![member("alice", Role::Admin), member("bob", Role::Member)];
        let response = answered(Ok(Success::Members(MemberPage { members, has_more })));
        text(&response).to_owned()
    };
    let pair = r#"{"members":[{"user_id":"alice","role":"admin","joined_at":"1970-01-01T00:00:00.001Z"},{"user_id":"bob","role":"member","joined_at":"1970-01-01T00:00:00.001Z"}]"#;
    assert_eq!(members(true), format!(r#"{pair},"next":"bob"}}"#));
    assert_eq!(members(false), format!(r#"{pair},"next":null}}"#));

    let presence = |members: Vec<(UserId, PresenceStatus)>, has_more| {
        text(&answered(Ok(Success::Presence { members, has_more }))).to_owned()
    };
    let both = vec![(UserId::new("alice"), PresenceStatus::Online), (UserId::new("bob"), PresenceStatus::Offline)];
    let pair = r#"{"presence":[{"user_id":"alice","status":"online"},{"user_id":"bob","status":"offline"}]"#;
    assert_eq!(presence(both.clone(), true), format!(r#"{pair},"next":"bob"}}"#));
    assert_eq!(presence(both, false), format!(r#"{pair},"next":null}}"#));
    assert_eq!(presence(vec![], false), r#"{"presence":[],"next":null}"#);

    let receipts = |has_more| {
        let receipt = |id, last_ack| Receipt { user_id: UserId::new(id), last_ack: Seq(last_ack) };
        let page = ReceiptPage { receipts: vec![receipt("alice", 0), receipt("bob", 7)], has_more };
        text(&answered(Ok(Success::Receipts(page)))).to_owned()
    };
    let pair = r#"{"receipts":[{"user_id":"alice","last_ack":0},{"user_id":"bob","last_ack":7}]"#;
    assert_eq!(receipts(true), format!(r#"{pair},"next":"bob"}}"#));
    assert_eq!(receipts(false), format!(r#"{pair},"next":null}}"#));

    let tenants = |has_more| {
        let page = TenantPage { tenants: vec![tenant("tenant_1"), tenant("tenant_2")], has_more };
        text(&answered(Ok(Success::Tenants(page)))).to_owned()
    };
    let one =
        |id: &str| format!(r#"{{"tenant_id":"{id}","name":"acme",{CONFIG},"created_at":"1970-01-01T00:00:00.000Z"}}"#);
    let pair = format!(r#"{{"tenants":[{},{}]"#, one("tenant_1"), one("tenant_2"));
    assert_eq!(tenants(true), format!(r#"{pair},"next":"tenant_2"}}"#));
    assert_eq!(tenants(false), format!(r#"{pair},"next":null}}"#));
}

const CONFIG: &str = r#""config":{"webhook_url":null,"rate_limit":100,"max_message_size":null,"retry_limit":null,"durable_notifications":null}"#;

#[test]
fn a_tenant_shows_its_webhook_secret_only_where_this_very_call_set_it() {
    let shown = |secret: Option<&str>| {
        let webhook_secret = secret.map(|secret| Secret::new(secret.to_owned()));
        let response =
            answered(Ok(Success::Tenant(Box::new(TenantShown { tenant: tenant("tenant_1"), webhook_secret }))));
        assert_eq!(response.status, 200);
        text(&response).to_owned()
    };
    let (start, end) = (r#"{"tenant_id":"tenant_1","name":"acme""#, r#""created_at":"1970-01-01T00:00:00.000Z"}"#);
    assert_eq!(shown(None), format!("{start},{CONFIG},{end}"));
    assert_eq!(shown(Some("whsec_x")), format!(r#"{start},{CONFIG},"webhook_secret":"whsec_x",{end}"#));
}

#[test]
fn what_is_done_is_204_with_neither_body_nor_type() {
    let status = RateLimitStatus { limit: 100, remaining: 99, reset_secs: 1 };
    let response = encode(&meta(), &Answer { rate_limit: Some(status), result: Ok(Success::Done) });
    assert_eq!((response.status, text(&response)), (204, ""));
    assert_eq!(header(&response, "Content-Type"), None);
    assert_eq!(header(&response, "X-Request-Id"), Some("r-1"));
    assert_eq!(header(&response, "RateLimit-Remaining"), Some("99"));
    assert!(!response.close);
}

#[test]
fn a_new_tenant_shows_its_secrets_and_every_setting() {
    let tenant = |webhook: Option<(&str, &str)>| {
        let response = answered(Ok(Success::TenantCreated(Box::new(TenantCreated {
            tenant_id: TenantId::new("tenant_1"),
            name: "acme".to_owned(),
            api_key: Secret::new("sk_x".to_owned()),
            config: TenantConfig {
                webhook_url: webhook.map(|(url, _)| url.to_owned()),
                rate_limit: Some(100),
                max_message_size: Some(4_096),
                retry_limit: Some(5),
                durable_notifications: Some(true),
            },
            webhook_secret: webhook.map(|(_, secret)| Secret::new(secret.to_owned())),
            created_at: UnixMillis(0),
        }))));
        assert_eq!(response.status, 201);
        text(&response).to_owned()
    };
    assert_eq!(
        tenant(None),
        r#"{"tenant_id":"tenant_1","name":"acme","api_key":"sk_x","config":{"webhook_url":null,"rate_limit":100,"max_message_size":4096,"retry_limit":5,"durable_notifications":true},"created_at":"1970-01-01T00:00:00.000Z"}"#
    );
    let with_hook = tenant(Some(("http://h", "whsec_x")));
    assert!(with_hook.contains(r#""config":{"webhook_url":"http://h","rate_limit":100"#), "{with_hook}");
    assert!(with_hook.contains(r#"true},"webhook_secret":"whsec_x","#), "{with_hook}");
}

#[test]
fn health_is_200_or_503_by_the_last_write() {
    for (db_writable, status, word) in [(true, 200, "ok"), (false, 503, "error")] {
        let uptime = Micros::from_secs(9_045);
        let response = answered(Ok(Success::Health(Health { db_writable, uptime })));
        let version = env!("CARGO_PKG_VERSION");
        let body = format!(
            r#"{{"status":"{word}","service":"chatapi","version":"{version}","uptime":"2h30m45s","db_writable":{db_writable}}}"#
        );
        assert_eq!((response.status, text(&response)), (status, body.as_str()));
    }
}

fn snapshot() -> MetricsSnapshot {
    let histogram = |latencies: &[u64]| {
        let mut histogram = Histogram::default();
        latencies.iter().for_each(|micros| histogram.observe(Micros(*micros)));
        histogram
    };
    MetricsSnapshot {
        active_connections: 1,
        messages_sent: 2,
        dropped_broadcasts: 3,
        delivery_attempts: 4,
        delivery_failures: 5,
        requests_answered: 6,
        pending_store_writes: 7,
        pending_store_reads: 8,
        late_store_replies: 9,
        uptime: Micros(10_999_999),
        rest_latency: histogram(&[400, 700, 700_000]),
        store_latency: histogram(&[11_000_000]),
        delivery_latency: histogram(&[]),
        process: ProcessGauges {
            wal_bytes: 11,
            queued_writes: 12,
            queued_reads: 13,
            queued_effects: 14,
            incoming_bytes: 15,
        },
    }
}

fn metrics(format: MetricsFormat) -> HttpResponse {
    let meta = ResponseMeta { metrics_format: format, ..meta() };
    encode(&meta, &Answer { rate_limit: None, result: Ok(Success::Metrics(Box::new(snapshot()))) })
}

#[test]
fn metrics_in_json_have_a_field_for_each() {
    let response = metrics(MetricsFormat::Json);
    assert_eq!(header(&response, "Content-Type"), Some("application/json"));
    let buckets = |counts: [u64; 15]| {
        let bounds = Histogram::BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        let buckets: Vec<String> = bounds.zip(counts).map(|(bound, count)| format!(r#""{bound}":{count}"#)).collect();
        buckets.join(",")
    };
    let histograms = [
        ("rest", 3, "0.7011", buckets([1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3])),
        ("store", 1, "11.0", buckets([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("delivery", 0, "0.0", buckets([0; 15])),
    ]
    .map(|(name, count, sum, buckets)| {
        format!(r#""{name}_latency_seconds":{{"count":{count},"sum_seconds":{sum},"buckets":{{{buckets}}}}}"#)
    });
    let body = format!(
        r#"{{"active_connections":1,"messages_sent":2,"dropped_broadcasts":3,"delivery_attempts":4,"delivery_failures":5,"uptime_seconds":10,"requests_answered":6,"pending_store_operations":15,"pending_store_writes":7,"pending_store_reads":8,"late_store_replies":9,"wal_bytes":11,"queued_writes":12,"queued_reads":13,"queued_effects":14,"incoming_bytes":15,{}}}"#,
        histograms.join(",")
    );
    assert_eq!(text(&response), body);
}

#[test]
fn metrics_in_text_have_a_help_a_type_and_samples_for_each() {
    for (format, content_type, counter, end) in [
        (MetricsFormat::Text, "text/plain; version=0.0.4; charset=utf-8", "chatapi_messages_sent_total", ""),
        (
            MetricsFormat::OpenMetrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "chatapi_messages_sent",
            "# EOF\n",
        ),
    ] {
        let response = metrics(format);
        assert_eq!(header(&response, "Content-Type"), Some(content_type));
        let text = text(&response);
        for part in [
            format!("# HELP {counter} Messages stored.\n# TYPE {counter} counter\nchatapi_messages_sent_total 2\n"),
            "# TYPE chatapi_wal_bytes gauge\nchatapi_wal_bytes 11\n".to_owned(),
            "# TYPE chatapi_rest_latency_seconds histogram\nchatapi_rest_latency_seconds_bucket{le=\"0.0005\"} 1\n"
                .to_owned(),
            format!(
                "chatapi_delivery_latency_seconds_bucket{{le=\"+Inf\"}} 0\nchatapi_delivery_latency_seconds_sum 0.000000\nchatapi_delivery_latency_seconds_count 0\n{end}"
            ),
        ] {
            assert!(text.contains(&part), "{part}\n in\n{text}");
        }
        assert!(text.ends_with(&format!("_count 0\n{end}")), "{text}");
        let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(families, text.lines().filter(|line| line.starts_with("# HELP ")).count());
    }
}

#[test]
fn all_formats_of_metrics_count_the_same() {
    let json: serde_json::Value = serde_json::from_slice(&metrics(MetricsFormat::Json).body).unwrap();
    let mut expected = std::collections::BTreeMap::new();
    for (name, value) in json.as_object().unwrap() {
        let Some(buckets) = value.get("buckets") else {
            expected.insert(format!("chatapi_{name}"), value.as_f64().unwrap());
            continue;
        };
        expected.insert(format!("chatapi_{name}_count"), value["count"].as_f64().unwrap());
        expected.insert(format!("chatapi_{name}_sum"), value["sum_seconds"].as_f64().unwrap());
        for (bound, count) in buckets.as_object().unwrap() {
            expected.insert(format!("chatapi_{name}_bucket{{le=\"{bound}\"}}"), count.as_f64().unwrap());
        }
    }
    for format in [MetricsFormat::Text, MetricsFormat::OpenMetrics] {
        let response = metrics(format);
        let samples = text(&response).lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.strip_suffix("_total").unwrap_or(name).to_owned(), value.parse().unwrap())
        });
        assert_eq!(samples.collect::<std::collections::BTreeMap<String, f64>>(), expected, "{format:?}");
    }
}

#[test]
fn an_error_stands_in_the_envelope_with_its_field_if_it_has_one() {
    let blamed = answered(Err(ApiError::invalid("type", "no \"type\"")));
    assert_eq!(
        (blamed.status, text(&blamed)),
        (400, r#"{"success":false,"error":{"code":"VALIDATION_ERROR","message":"no \"type\"","field":"type"}}"#)
    );
    let plain = answered(Err(ApiError::no_room()));
    assert_eq!(
        (plain.status, text(&plain)),
        (404, r#"{"success":false,"error":{"code":"NOT_FOUND","message":"there is no such room"}}"#)
    );
    assert_eq!(header(&plain, "Content-Type"), Some("application/json"));
    assert_eq!(header(&plain, "X-Request-Id"), Some("r-1"));
    assert_eq!(header(&plain, "Retry-After"), None);
}

#[test]
fn retry_after_is_in_whole_seconds_rounded_up_and_at_least_1() {
    for (millis, header_value) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
        let response = answered(Err(ApiError::rate_limited(millis)));
        assert_eq!(response.status, 429);
        assert_eq!(header(&response, "Retry-After"), Some(header_value), "{millis}");
    }
    let silent = answered(Err(ApiError::new(ErrorCode::Unavailable, "later")));
    assert_eq!(header(&silent, "Retry-After"), Some("1"));
}

#[test]
fn an_answer_to_a_valid_key_tells_its_bucket_errors_included() {
    let status = RateLimitStatus { limit: 100, remaining: 99, reset_secs: 1 };
    for result in [Ok(Success::Alive), Err(ApiError::not_member())] {
        let rate_limit = Some(status);
        let response = encode(&meta(), &Answer { rate_limit, result });
        let told = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"].map(|name| header(&response, name));
        assert_eq!(told, [Some("100"), Some("99"), Some("1")]);
    }
}

#[test]
fn a_head_s_answer_keeps_its_body_to_be_counted() {
    let is_head = ResponseMeta { is_head: true, ..meta() };
    let answer = Answer { rate_limit: None, result: Ok(Success::Alive) };
    let response = encode(&is_head, &answer);
    assert!(response.is_head && response.body == encode(&meta(), &answer).body);
}

fn of_refused(headers: &[(&str, &[u8])], allowed: AllowedOrigins) -> ResponseMeta {
    ResponseMeta::of_refused(headers, &mut Host(allowed))
}

#[test]
fn every_real_answer_tells_a_browser_what_it_may_read() {
    let rate_limit = RateLimitStatus { limit: 100, remaining: 99, reset_secs: 1 };
    let exposed = Some("X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After");
    for (cors, origin, vary, exposed) in [
        (Cors::Silent, None, None, None),
        (Cors::Unlisted, None, Some("Origin"), None),
        (Cors::Listed("https://a".to_owned()), Some("https://a"), Some("Origin"), exposed),
        (Cors::Anyone, Some("*"), None, exposed),
    ] {
        let meta = ResponseMeta { cors: cors.clone(), ..meta() };
        let answer = |result| encode(&meta, &Answer { rate_limit: Some(rate_limit), result });
        let upgraded =
            HttpResponse { headers: encode_upgrade(&meta, &rate_limit), ..reject(Rejection::Timeout, &meta) };
        for response in [
            answer(Ok(Success::Alive)),
            answer(Ok(Success::Health(Health { db_writable: false, uptime: Micros(0) }))),
            answer(Err(ApiError::rate_limited(1))),
            reject(Rejection::HeadTooLarge, &meta),
            refuse(&meta, &ApiError::no_room(), &[]),
            tell_methods(&meta, "GET, OPTIONS"),
            upgraded,
        ] {
            let told = ["Access-Control-Allow-Origin", "Vary", "Access-Control-Expose-Headers"]
                .map(|name| header(&response, name));
            assert_eq!(told, [origin, vary, exposed], "{cors:?} {}", response.status);
            assert_eq!(header(&response, "X-Request-Id"), Some("r-1"));
        }
    }
}

#[test]
fn what_is_refused_before_it_is_a_request_is_readable_by_the_origin_in_its_head() {
    let ours = ("origin", b"https://app.example".as_slice());
    let other = ("origin", b"https://other.example".as_slice());
    let listed = Cors::Listed("https://app.example".to_owned());
    for (headers, allowed, cors) in [
        (&[ours][..], list(), listed),
        (&[other], list(), Cors::Unlisted),
        (&[], list(), Cors::Unlisted),
        (&[ours, ours], list(), Cors::Unlisted),
        (&[other], AllowedOrigins::Any, Cors::Anyone),
        (&[ours, other], AllowedOrigins::Any, Cors::Silent),
        (&[ours], AllowedOrigins::Listed(Vec::new()), Cors::Silent),
    ] {
        assert_eq!(of_refused(headers, allowed).cors, cors, "{headers:?}");
    }
}

#[test]
fn what_was_no_proper_request_ends_the_connection() {
    for (rejection, status, code) in [
        (Rejection::Malformed("two lengths"), 400, "VALIDATION_ERROR"),
        (Rejection::Timeout, 408, "REQUEST_TIMEOUT"),
        (Rejection::HeadTooLarge, 431, "HEADERS_TOO_LARGE"),
        (Rejection::UnknownMethod, 501, "NOT_IMPLEMENTED"),
        (Rejection::UnsupportedVersion, 505, "HTTP_VERSION_NOT_SUPPORTED"),
        (Rejection::Overloaded, 503, "UNAVAILABLE"),
        (Rejection::Stopped, 503, "UNAVAILABLE"),
    ] {
        let response = reject(rejection, &of_refused(&[], list()));
        assert_eq!(response.status, status);
        let start = format!(r#"{{"success":false,"error":{{"code":"{code}","message":""#);
        assert!(text(&response).starts_with(&start), "{}", text(&response));
        assert!(response.close && !response.is_head);
        let id = header(&response, "X-Request-Id").unwrap();
        assert!(id.starts_with("req_") && id.len() >= 20, "{id}");
        assert_eq!(header(&response, "Retry-After").is_some(), status == 503);
        let named = reject(rejection, &of_refused(&[("x-request-id", b"r-1")], list()));
        assert_eq!(header(&named, "X-Request-Id"), Some("r-1"));
        for unfit in [&[("x-request-id", b"r 1".as_slice())][..], &[("x-request-id", b"a"), ("x-request-id", b"a")]] {
            assert_eq!(reject(rejection, &of_refused(unfit, list())), response);
        }
    }
}
