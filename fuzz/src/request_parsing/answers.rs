//! Answers that nobody gave, encoded: by the core to the pieces of a response, by the driver to bytes.

use std::borrow::Cow;

use arbitrary::{Result, Unstructured};
use chatapi::http1::{Persistence, encode_response};
use chatapi_core::api::{
    Answer, ApiError, ErrorCode, Health, HttpResponse, MetricsFormat, PresenceStatus, Rejection, ResponseMeta, Success,
    TenantCreated, TenantShown, encode, reject,
};
use chatapi_core::model::{
    ListedRoom, Member, Message, ReadPosition, Role, Room, RoomType, Subscription, Tenant, TenantConfig,
};
use chatapi_core::store::{MemberPage, MessagePage, Receipt, ReceiptPage, TenantPage};
use chatapi_core::{
    MessageId, MetricsSnapshot, Micros, NotificationId, RateLimitStatus, RoomId, Secret, Seq, TenantId, TenantKey,
    UnixMillis, UserId,
};
use serde_json::Value;

use super::{Host, parse_json};

/// Codes of the protocol (section 1), with their statuses.
const CODES: [ErrorCode; 16] = [
    ErrorCode::Validation,
    ErrorCode::Authentication,
    ErrorCode::Authorization,
    ErrorCode::NotFound,
    ErrorCode::MethodNotAllowed,
    ErrorCode::RequestTimeout,
    ErrorCode::Conflict,
    ErrorCode::PayloadTooLarge,
    ErrorCode::IdempotencyKeyReused,
    ErrorCode::UpgradeRequired,
    ErrorCode::RateLimitExceeded,
    ErrorCode::HeadersTooLarge,
    ErrorCode::Internal,
    ErrorCode::NotImplemented,
    ErrorCode::Unavailable,
    ErrorCode::HttpVersionNotSupported,
];

/// Encodes the answer that `bytes` come to; nothing where they do not suffice for one.
pub(super) fn encode_one(meta: &ResponseMeta, bytes: &mut Unstructured<'_>) {
    if let Ok(answer) = answer(bytes) {
        let response = encode(meta, &answer);
        assert_eq!(header(&response, "X-Request-Id"), Some(meta.request_id.as_str()));
        let has_limits = header(&response, "RateLimit-Remaining").is_some();
        assert_eq!(has_limits, answer.rate_limit.is_some());
        match &answer.result {
            Ok(Success::Done) => {
                assert_eq!((response.status, header(&response, "Content-Type")), (204, None));
                assert!(response.body.is_empty());
            }
            Ok(Success::Metrics(_)) if meta.metrics_format != MetricsFormat::Json => {
                assert!(response.body.starts_with(b"# HELP chatapi_"));
            }
            Ok(_) => assert!(parse_json(&response.body).is_object()),
            Err(error) => check_failure(&response, error),
        }
        check_bytes(&response, persistence(bytes));
    }
    if let Ok(rejection) = rejection(bytes) {
        let response = reject(rejection, &ResponseMeta::of_refused(&[], &mut Host(0)));
        check_envelope(&response);
        assert!(response.close, "nothing can follow what was not HTTP");
        check_bytes(&response, persistence(bytes));
    }
}

fn persistence(bytes: &mut Unstructured<'_>) -> Persistence {
    const ALL: [Persistence; 3] = [Persistence::Close, Persistence::KeepAlive, Persistence::KeepAliveNamed];
    *bytes.choose(&ALL).unwrap_or(&Persistence::Close)
}

pub(super) fn header<'r>(response: &'r HttpResponse, name: &str) -> Option<&'r str> {
    let mut values = response.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} stands once");
    value
}

/// `{"success": false, "error": {"code", "message", "field"?}}`, with the status of the code.
pub(super) fn check_envelope(response: &HttpResponse) {
    assert_eq!(header(response, "Content-Type"), Some("application/json"));
    let body = parse_json(&response.body);
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&body), Some(vec!["error".to_owned(), "success".to_owned()]), "{body}");
    assert_eq!(body["success"], Value::Bool(false));
    let error = &body["error"];
    let code = CODES.iter().find(|code| error["code"] == code.as_str()).expect("a code of the protocol");
    assert_eq!(response.status, code.status());
    assert!(error["message"].is_string() && (error["field"].is_string() || error.get("field").is_none()), "{error}");
    assert!(keys(error).is_some_and(|keys| keys.iter().all(|key| matches!(&**key, "code" | "message" | "field"))));
    let says_when = header(response, "Retry-After").map(|secs| secs.parse::<u64>().expect("whole seconds"));
    assert!(says_when != Some(0), "at least one second");
    let must_say = matches!(code, ErrorCode::RateLimitExceeded | ErrorCode::Unavailable);
    assert!(says_when.is_some() || !must_say, "{code:?} says when to come again");
}

fn check_failure(response: &HttpResponse, error: &ApiError) {
    check_envelope(response);
    let told = &parse_json(&response.body)["error"];
    assert_eq!((&told["code"], &told["message"]), (&error.code.as_str().into(), &(&*error.message).into()));
    assert_eq!(told.get("field").and_then(Value::as_str), error.field.as_deref());
    if let (Some(millis), Some(secs)) = (error.retry_after_ms, header(response, "Retry-After")) {
        let secs: u64 = secs.parse().expect("whole seconds");
        assert!(secs.saturating_mul(1_000) >= millis, "{secs} s are too early for {millis} ms");
    }
}

/// What goes over the wire is one response that another parser reads as it was meant.
pub(super) fn check_bytes(response: &HttpResponse, after: Persistence) {
    let HttpResponse { status, headers, body, is_head, close } = response;
    let mut out = b"earlier".to_vec();
    let then = encode_response(response.clone(), after, &mut out).expect("nothing is waited for");
    assert_eq!(then, if *close { Persistence::Close } else { after });
    let wire = out.strip_prefix(b"earlier").expect("it is appended");
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut fields);
    let head = match parsed.parse(wire) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(wire)),
    };
    assert_eq!((parsed.version, parsed.code), (Some(1), Some(*status)));
    let sent = if *is_head { &[][..] } else { &body[..] };
    assert!(&wire[head..] == sent, "the body is whole, and nothing follows");
    let values = |name: &str| -> Vec<String> {
        let lines = parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let values = lines.flat_map(|field| field.value.split(|&byte| byte == b','));
        values.map(|value| String::from_utf8_lossy(value.trim_ascii()).into_owned()).collect()
    };
    let length = (*status != 204).then(|| body.len().to_string());
    assert_eq!(values("content-length"), Vec::from_iter(length));
    let mut connection: Vec<_> = header(response, "Connection").map(str::to_owned).into_iter().collect();
    connection.extend(match then {
        Persistence::Close => Some("close".to_owned()),
        Persistence::KeepAliveNamed => Some("keep-alive".to_owned()),
        Persistence::KeepAlive => None,
    });
    assert_eq!(values("connection"), connection);
    let is_own = |name: &str| ["content-length", "date", "connection"].contains(&name.to_ascii_lowercase().as_str());
    let sent = parsed.headers.iter().filter(|field| !is_own(field.name)).count();
    assert_eq!(sent, headers.iter().filter(|(name, _)| !is_own(name)).count(), "no header was split in two");
}

fn answer(bytes: &mut Unstructured<'_>) -> Result<Answer> {
    let rate_limit = match bytes.arbitrary()? {
        true => Some(RateLimitStatus {
            limit: bytes.arbitrary()?,
            remaining: bytes.arbitrary()?,
            reset_secs: bytes.arbitrary()?,
        }),
        false => None,
    };
    let result = if bytes.ratio(1, 3)? { Err(error(bytes)?) } else { Ok(success(bytes)?) };
    Ok(Answer { rate_limit, result })
}

fn error(bytes: &mut Unstructured<'_>) -> Result<ApiError> {
    Ok(ApiError {
        code: *bytes.choose(&CODES)?,
        message: Cow::Owned(bytes.arbitrary()?),
        field: bytes.arbitrary::<Option<String>>()?.map(Cow::Owned),
        retry_after_ms: bytes.arbitrary()?,
    })
}

fn rejection(bytes: &mut Unstructured<'_>) -> Result<Rejection> {
    bytes
        .choose(&[
            Rejection::Malformed("a reason"),
            Rejection::Timeout,
            Rejection::HeadTooLarge,
            Rejection::UnknownMethod,
            Rejection::UnsupportedVersion,
            Rejection::Overloaded,
            Rejection::Stopped,
        ])
        .copied()
}

fn success(bytes: &mut Unstructured<'_>) -> Result<Success> {
    Ok(match bytes.int_in_range(0..=24)? {
        0 => Success::Health(Health { db_writable: bytes.arbitrary()?, uptime: Micros(bytes.arbitrary()?) }),
        1 => Success::Alive,
        2 => Success::Ready,
        3 => Success::Metrics(Box::new(MetricsSnapshot {
            active_connections: bytes.arbitrary()?,
            uptime: Micros(bytes.arbitrary()?),
            ..MetricsSnapshot::default()
        })),
        4 => Success::TenantCreated(Box::new(TenantCreated {
            tenant_id: TenantId::new(bytes.arbitrary()?),
            name: bytes.arbitrary()?,
            api_key: Secret::new(bytes.arbitrary()?),
            config: TenantConfig { webhook_url: bytes.arbitrary()?, ..TenantConfig::default() },
            webhook_secret: bytes.arbitrary::<Option<String>>()?.map(Secret::new),
            created_at: UnixMillis(bytes.arbitrary()?),
        })),
        5 => Success::Rooms { rooms: some(bytes, listed_room)?, has_more: bytes.arbitrary()? },
        6 => Success::RoomCreated(Box::new(room(bytes)?)),
        7 => Success::Room(Box::new(room(bytes)?)),
        8 => Success::Members(MemberPage { members: some(bytes, member)?, has_more: bytes.arbitrary()? }),
        9 => Success::Message(Box::new(message(bytes)?)),
        10 => Success::Messages(MessagePage { messages: some(bytes, message)?, has_more: bytes.arbitrary()? }),
        11 => Success::Acknowledged { room_id: RoomId::new(bytes.arbitrary()?), last_ack: Seq(bytes.arbitrary()?) },
        12 => Success::Tenants(TenantPage { tenants: some(bytes, tenant)?, has_more: bytes.arbitrary()? }),
        13 => Success::Tenant(Box::new(TenantShown {
            tenant: tenant(bytes)?,
            webhook_secret: bytes.arbitrary::<Option<String>>()?.map(Secret::new),
        })),
        14 => Success::KeyRotated {
            tenant_id: TenantId::new(bytes.arbitrary()?),
            api_key: Secret::new(bytes.arbitrary()?),
        },
        15 => Success::Done,
        16 => Success::MemberAdded(member(bytes)?),
        17 => Success::Member(member(bytes)?),
        18 => Success::Presence { members: some(bytes, presence)?, has_more: bytes.arbitrary()? },
        19 => Success::Receipts(ReceiptPage { receipts: some(bytes, receipt)?, has_more: bytes.arbitrary()? }),
        20 => Success::Notified {
            notification_id: NotificationId::new(bytes.arbitrary()?),
            created_at: UnixMillis(bytes.arbitrary()?),
        },
        21 => Success::SubscriptionCreated(subscription(bytes)?),
        22 => Success::Subscription(subscription(bytes)?),
        23 => Success::Subscriptions(some(bytes, subscription)?),
        _ => Success::Token(Secret::new(bytes.arbitrary()?)),
    })
}

fn some<T>(bytes: &mut Unstructured<'_>, one: impl Fn(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    (0..bytes.int_in_range(0..=3)?).map(|_| one(bytes)).collect()
}

fn tenant(bytes: &mut Unstructured<'_>) -> Result<Tenant> {
    Ok(Tenant {
        key: TenantKey(bytes.arbitrary()?),
        tenant_id: TenantId::new(bytes.arbitrary()?),
        name: bytes.arbitrary()?,
        config: TenantConfig { webhook_url: bytes.arbitrary()?, ..TenantConfig::default() },
        created_at: UnixMillis(bytes.arbitrary()?),
    })
}

fn presence(bytes: &mut Unstructured<'_>) -> Result<(UserId, PresenceStatus)> {
    let status = if bytes.arbitrary()? { PresenceStatus::Online } else { PresenceStatus::Offline };
    Ok((UserId::new(bytes.arbitrary()?), status))
}

fn receipt(bytes: &mut Unstructured<'_>) -> Result<Receipt> {
    Ok(Receipt { user_id: UserId::new(bytes.arbitrary()?), last_ack: Seq(bytes.arbitrary()?) })
}

fn subscription(bytes: &mut Unstructured<'_>) -> Result<Subscription> {
    Ok(Subscription {
        id: bytes.arbitrary()?,
        subscriber_id: UserId::new(bytes.arbitrary()?),
        topic: bytes.arbitrary()?,
        created_at: UnixMillis(bytes.arbitrary()?),
    })
}

fn listed_room(bytes: &mut Unstructured<'_>) -> Result<ListedRoom> {
    let position = match bytes.arbitrary()? {
        true => Some(ReadPosition { last_ack: Seq(bytes.arbitrary()?), unread_count: bytes.arbitrary()? }),
        false => None,
    };
    Ok(ListedRoom { room: room(bytes)?, position })
}

fn room(bytes: &mut Unstructured<'_>) -> Result<Room> {
    Ok(Room {
        room_id: RoomId::new(bytes.arbitrary()?),
        kind: *bytes.choose(&RoomType::ALL)?,
        unique_key: bytes.arbitrary()?,
        name: bytes.arbitrary()?,
        metadata: bytes.arbitrary()?,
        last_seq: Seq(bytes.arbitrary()?),
        created_at: UnixMillis(bytes.arbitrary()?),
    })
}

fn member(bytes: &mut Unstructured<'_>) -> Result<Member> {
    Ok(Member {
        user_id: UserId::new(bytes.arbitrary()?),
        role: if bytes.arbitrary()? { Role::Admin } else { Role::Member },
        joined_at: UnixMillis(bytes.arbitrary()?),
    })
}

fn message(bytes: &mut Unstructured<'_>) -> Result<Message> {
    Ok(Message {
        message_id: MessageId::new(bytes.arbitrary()?),
        room_id: RoomId::new(bytes.arbitrary()?),
        sender_id: UserId::new(bytes.arbitrary()?),
        seq: Seq(bytes.arbitrary()?),
        content: bytes.arbitrary()?,
        meta: bytes.arbitrary()?,
        created_at: UnixMillis(bytes.arbitrary()?),
        edited_at: bytes.arbitrary::<Option<i64>>()?.map(UnixMillis),
        deleted_at: bytes.arbitrary::<Option<i64>>()?.map(UnixMillis),
    })
}
