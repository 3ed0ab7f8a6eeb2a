//! One of everything that can go in or come out, with values at the edges of their types.

mod answers;
mod calls;
mod store;

use crate::api::{
    Access, Answer, ApiError, ApiRequest, Call, Credentials, ErrorCode, PublicCall, SendMessage, UserHeader,
};
use crate::effect::{CloseReason, Effect, Event};
use crate::id::{ConnId, MessageId, OpId, RequestId, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::input::{ClosedBy, Input};
use crate::limits::RateLimitStatus;
use crate::model::{
    ListedRoom, Member, Message, ReadPosition, Role, Room, RoomType, Subscription, Tenant, TenantConfig,
};
use crate::secret::{Digest, Secret};
use crate::store::{MemberPage, MessagePage, NotificationTargets, StoreFailure, TenantPage};
use crate::time::UnixMillis;
use crate::ws::{
    BacklogChoice, ClientFrame, Command, Frame, FrameBucket, HandshakeCredentials, HandshakeRequest, TypingAction,
    message_frame,
};

pub(super) use answers::{success, successes};
pub(super) use calls::{
    admin_call, admin_calls, call, calls, public_call, public_calls, tenant_call, tenant_calls, user_call, user_calls,
};
pub(super) use store::{replies, requests, store_reply, store_request};

pub(super) const API_KEY: &str = "password1";
pub(super) const TOKEN: &str = "wst_weak";
pub(super) const WEBHOOK_SECRET: &str = "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0";
pub(super) const WEBHOOK_URL: &str = "https://hooks.example:8443/services/T0/B0/capability?token=x";

const TENANT: TenantKey = TenantKey(i64::MIN);
const REQUEST: RequestId = RequestId(u64::MAX);
const CONN: ConnId = ConnId(u64::MAX - 1);
const OP: OpId = OpId(9_007_199_254_740_993);
const WALL: UnixMillis = UnixMillis(-1);
/// Text that JSON must escape, and more than one plane of Unicode.
const TEXT: &str = "a\"\\\u{0}\u{7f}\u{2028}é𝄞\r\n";

pub(super) fn api_key() -> Digest {
    Digest::of(API_KEY.as_bytes())
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn user() -> UserId {
    UserId::new(TEXT)
}

fn room_id() -> RoomId {
    RoomId::new("room_1")
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn config() -> TenantConfig {
    TenantConfig {
        webhook_url: some(WEBHOOK_URL),
        rate_limit: Some(u32::MAX),
        max_message_size: None,
        retry_limit: Some(1),
        durable_notifications: Some(false),
    }
}

fn tenant() -> Tenant {
    Tenant {
        key: TENANT,
        tenant_id: TenantId::new("tenant_1"),
        name: TEXT.to_owned(),
        config: config(),
        created_at: UnixMillis(i64::MAX),
    }
}

fn room() -> Room {
    Room {
        room_id: room_id(),
        kind: RoomType::Dm,
        unique_key: some("dm:a:b"),
        name: None,
        metadata: some("{\"a\": 1}"),
        last_seq: Seq(u64::MAX),
        created_at: UnixMillis(i64::MIN),
    }
}

fn message() -> Message {
    Message {
        message_id: MessageId::new("msg_1"),
        room_id: room_id(),
        sender_id: user(),
        seq: Seq(7),
        content: TEXT.to_owned(),
        meta: some("[ 1 ]"),
        created_at: WALL,
        edited_at: Some(WALL),
        deleted_at: None,
    }
}

fn frame() -> Frame {
    message_frame(&message())
}

fn send_message() -> SendMessage {
    SendMessage { room_id: room_id(), content: TEXT.to_owned(), meta: None, idempotency_key: some("k!") }
}

fn listed_rooms() -> Vec<ListedRoom> {
    vec![
        ListedRoom { room: room(), position: None },
        ListedRoom { room: room(), position: Some(ReadPosition { last_ack: Seq(0), unread_count: u32::MAX }) },
    ]
}

fn member_page() -> MemberPage {
    MemberPage {
        members: vec![
            Member { user_id: user(), role: Role::Admin, joined_at: WALL },
            Member { user_id: UserId::new("b"), role: Role::Member, joined_at: WALL },
        ],
        has_more: true,
    }
}

fn message_page() -> MessagePage {
    MessagePage { messages: vec![message()], has_more: false }
}

fn failure() -> ApiError {
    ApiError { retry_after_ms: Some(u64::MAX), ..ApiError::invalid(TEXT.to_owned(), "no") }
}

fn tenant_page() -> TenantPage {
    TenantPage { tenants: vec![tenant(), Tenant { config: TenantConfig::default(), ..tenant() }], has_more: true }
}

fn targets() -> NotificationTargets {
    NotificationTargets { user_ids: vec![user()], room_id: Some(room_id()), topic_subscribers: true }
}

fn subscription() -> Subscription {
    Subscription { id: u64::MAX, subscriber_id: user(), topic: TEXT.to_owned(), created_at: WALL }
}

pub(super) fn commands() -> Vec<Command> {
    frames().into_iter().filter_map(|frame| frame.command.ok()).collect()
}

fn frames() -> Vec<ClientFrame> {
    let typing = |action| ClientFrame {
        request_id: None,
        paid_by: FrameBucket::Connection,
        command: Ok(Command::Typing { room_id: room_id(), action }),
    };
    vec![
        ClientFrame {
            request_id: some(TEXT),
            paid_by: FrameBucket::Tenant,
            command: Ok(Command::SendMessage(Box::new(send_message()))),
        },
        ClientFrame {
            request_id: None,
            paid_by: FrameBucket::Connection,
            command: Ok(Command::Acknowledge { room_id: room_id(), seq: Seq(0) }),
        },
        typing(TypingAction::Start),
        typing(TypingAction::Stop),
        ClientFrame {
            request_id: some("r"),
            paid_by: FrameBucket::Tenant,
            command: Ok(Command::Subscribe { room_id: room_id(), after: None }),
        },
        ClientFrame {
            request_id: None,
            paid_by: FrameBucket::Tenant,
            command: Ok(Command::Subscribe { room_id: room_id(), after: Some(Seq(u64::MAX)) }),
        },
        ClientFrame {
            request_id: None,
            paid_by: FrameBucket::Tenant,
            command: Ok(Command::Resume {
                rooms: [(room_id(), Seq(0)), (RoomId::new(TEXT), Seq(u64::MAX))].into_iter().collect(),
            }),
        },
        ClientFrame { request_id: None, paid_by: FrameBucket::Connection, command: Ok(Command::Ping) },
        ClientFrame { request_id: None, paid_by: FrameBucket::Tenant, command: Err(failure()) },
    ]
}

pub(super) fn inputs() -> Vec<Input> {
    let credentials =
        |api_key| Credentials { is_master: true, is_metrics_reader: false, api_key, user: users()[2].clone() };
    let request = |access, call| Input::Request {
        request: REQUEST,
        body: Box::new(ApiRequest { access, credentials: credentials(Some(api_key())), call }),
    };
    let mut inputs: Vec<Input> = calls().into_iter().map(|call| request(Access::User, Ok(call))).collect();
    for access in
        [Access::Public, Access::Metrics, Access::Master, Access::User, Access::UserToConnect, Access::UserOrTenant]
    {
        inputs.push(request(access, Err(failure())));
    }
    let nobody =
        ApiRequest { access: Access::User, credentials: credentials(None), call: Ok(Call::Public(PublicCall::Health)) };
    inputs.push(Input::Request { request: RequestId(0), body: Box::new(nobody) });
    for user in users() {
        let ways = [
            HandshakeCredentials::Missing,
            HandshakeCredentials::ApiKey { api_key: api_key(), user: user.clone() },
            HandshakeCredentials::Token { token: Digest::of(TOKEN.as_bytes()), user },
        ];
        for (credentials, backlog) in
            ways.into_iter().zip([Ok(BacklogChoice::Stream), Ok(BacklogChoice::Skip), Err(failure())])
        {
            let body = Box::new(HandshakeRequest { origin: some("https://a"), credentials, backlog });
            inputs.push(Input::Handshake { request: REQUEST, conn: CONN, body });
        }
    }
    inputs.extend(frames().into_iter().map(|frame| Input::Frame { conn: CONN, frame: Box::new(frame) }));
    inputs.extend([ClosedBy::Client, ClosedBy::Server, ClosedBy::Error].map(|by| Input::Closed { conn: CONN, by }));
    inputs.extend(replies().into_iter().map(|reply| Input::Stored { op: OP, result: Ok(reply) }));
    inputs.extend(FAILURES.map(|failure| Input::Stored { op: OP, result: Err(failure) }));
    inputs.extend([
        Input::Heard { conn: CONN },
        Input::Flushed { conn: CONN, frames: u32::MAX, size_bytes: u64::MAX, peer_reads: true },
        Input::Tick,
        Input::Shutdown,
    ]);
    inputs
}

pub(super) fn effects() -> Vec<Effect> {
    let mut effects: Vec<Effect> = requests().into_iter().map(|request| Effect::Store { op: OP, request }).collect();
    let rate_limit = RateLimitStatus { limit: u32::MAX, remaining: 0, reset_secs: u64::MAX };
    effects.extend(successes().into_iter().map(|success| Effect::Respond {
        request: REQUEST,
        answer: Box::new(Answer { rate_limit: Some(rate_limit), result: Ok(success) }),
    }));
    effects.extend(CODES.map(|code| Effect::Respond {
        request: REQUEST,
        answer: Box::new(Answer { rate_limit: None, result: Err(ApiError { code, ..failure() }) }),
    }));
    effects.extend(REASONS.map(|reason| Effect::Close { conn: CONN, reason }));
    effects.extend(events().into_iter().map(Effect::Report));
    effects.extend([
        Effect::Accept { request: REQUEST, conn: CONN, rate_limit },
        Effect::Send { conns: vec![CONN, ConnId(0)], frame: frame() },
        Effect::Ping { conns: Vec::new() },
        Effect::Stop,
    ]);
    effects
}

pub(super) fn events() -> Vec<Event> {
    let mut events = vec![
        Event::Ready,
        Event::TenantCreated { tenant_id: TenantId::new("tenant_1") },
        Event::TenantDeleted { tenant_id: TenantId::new("tenant_1") },
        Event::StoreTimedOut { op: OP },
        Event::RoomRecovered { room_id: room_id() },
    ];
    events.extend(FAILURES.map(|failure| Event::StoreFailed { op: OP, failure }));
    events
}

fn users() -> [UserHeader; 3] {
    [UserHeader::Absent, UserHeader::Invalid, UserHeader::User(user())]
}

const FAILURES: [StoreFailure; 4] =
    [StoreFailure::Busy, StoreFailure::Full, StoreFailure::Failed, StoreFailure::OutcomeUnknown];

pub(super) const REASONS: [CloseReason; 8] = [
    CloseReason::Shutdown,
    CloseReason::TooManyConnections,
    CloseReason::TooManyInvalidFrames,
    CloseReason::SlowReader,
    CloseReason::StoreUnavailable,
    CloseReason::Unresponsive,
    CloseReason::KeyRotated,
    CloseReason::TenantDeleted,
];

const CODES: [ErrorCode; 3] = [ErrorCode::Validation, ErrorCode::Unavailable, ErrorCode::HttpVersionNotSupported];

/// Names the variants of an enum, and which of them a value is. The compiler refuses a list that leaves one out.
macro_rules! variants {
    ($($name:ident of $type:ident: $($variant:ident)*;)*) => {
        $(pub(in crate::recording::tests) fn $name(value: &$type) -> (&'static str, &'static [&'static str]) {
            let name = match value { $($type::$variant { .. } => stringify!($variant),)* };
            (name, &[$(stringify!($variant)),*])
        })*
    };
}
use variants;

variants! {
    input of Input: Request Handshake Frame Heard Flushed Closed Stored Tick Shutdown;
    effect of Effect: Store Respond Accept Send Ping Close Report Stop;
    event of Event: Ready TenantCreated TenantDeleted StoreFailed StoreTimedOut RoomRecovered;
    close_reason of CloseReason: Shutdown TooManyConnections TooManyInvalidFrames SlowReader StoreUnavailable
        Unresponsive KeyRotated TenantDeleted;
    command of Command: SendMessage Acknowledge Typing Subscribe Resume Ping;
}
