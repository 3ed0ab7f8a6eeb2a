//! One of everything that can go in or come out, with values at the edges of their types.

use crate::api::{
    Access, Answer, ApiError, ApiRequest, Call, CreateRoom, CreateTenant, Credentials, ErrorCode, Health, SendMessage,
    Success, TenantCreated, UserHeader,
};
use crate::effect::{CloseReason, Effect, Event};
use crate::id::{ConnId, IdStamp, MessageId, OpId, RequestId, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::input::{ClosedBy, Input};
use crate::limits::RateLimitStatus;
use crate::metrics::{Histogram, MetricsSnapshot, ProcessGauges};
use crate::model::{ListedRoom, Member, Message, ReadPosition, Role, Room, RoomType, Tenant, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::store::{
    AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, AppendOutcome, AppendRefusal, Appended, BacklogRoom,
    CreatedRoom, HistoryRange, Idempotency, MemberPage, MessagePage, NewMessage, NewRoom, NewTenant, PageBounds,
    StoreFailure, StoreReply, StoreRequest,
};
use crate::time::{Micros, UnixMillis};
use crate::ws::{
    BacklogChoice, ClientFrame, Command, Frame, FrameBucket, HandshakeCredentials, HandshakeRequest, message_frame,
};

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

const BOUNDS: PageBounds = PageBounds { messages: 100, size_bytes: u32::MAX };

pub(super) fn calls() -> Vec<Call> {
    vec![
        Call::Health,
        Call::Livez,
        Call::Readyz,
        Call::Metrics,
        Call::CreateTenant(Box::new(CreateTenant {
            name: TEXT.to_owned(),
            config: config(),
            webhook_secret: Some(secret(WEBHOOK_SECRET)),
            api_key: secret(API_KEY),
        })),
        Call::CreateTenant(Box::new(CreateTenant {
            name: "n".to_owned(),
            config: TenantConfig::default(),
            webhook_secret: None,
            api_key: secret(API_KEY),
        })),
        Call::ListRooms { after: Some(room_id()), limit: 1 },
        Call::CreateRoom(Box::new(CreateRoom {
            kind: RoomType::Channel,
            members: vec![user(), user()],
            name: Some(String::new()),
            metadata: None,
        })),
        Call::ReadRoom { room_id: room_id() },
        Call::ListMembers { room_id: room_id(), after: None, limit: 10_000 },
        Call::SendMessage(Box::new(send_message())),
        Call::ReadMessages { room_id: room_id(), range: HistoryRange::After(Seq(0)), limit: 50 },
        Call::ReadMessages { room_id: room_id(), range: HistoryRange::Before(Seq(u64::MAX)), limit: 50 },
        Call::Acknowledge { room_id: room_id(), seq: Seq(3) },
        Call::IssueToken { token: secret(TOKEN) },
    ]
}

pub(super) fn requests() -> Vec<StoreRequest> {
    let actors = [Actor::Tenant, Actor::User(user())];
    let mut requests = vec![
        StoreRequest::Boot,
        StoreRequest::CheckWritable { now: WALL },
        StoreRequest::CreateTenant(Box::new(NewTenant {
            tenant_id: TenantId::new("tenant_1"),
            name: TEXT.to_owned(),
            api_key: api_key(),
            config: config(),
            webhook_secret: Some(secret(WEBHOOK_SECRET)),
            created_at: WALL,
        })),
        StoreRequest::FindTenant { api_key: api_key() },
        StoreRequest::CreateRoom(Box::new(NewRoom {
            tenant: TENANT,
            room_id: room_id(),
            kind: RoomType::Group,
            unique_key: None,
            name: some("n"),
            metadata: None,
            members: vec![(user(), Role::Admin), (UserId::new("b"), Role::Member)],
            created_at: WALL,
        })),
        StoreRequest::AppendMessage(Box::new(NewMessage {
            tenant: TENANT,
            room_id: room_id(),
            sender_id: user(),
            message_id: MessageId::new("msg_1"),
            content: TEXT.to_owned(),
            meta: None,
            created_at: WALL,
            idempotency: Some(Idempotency {
                key: "k!".to_owned(),
                body: Digest::of(b"a public text"),
                valid_since: WALL,
            }),
        })),
        StoreRequest::Acknowledge { tenant: TENANT, room_id: room_id(), user_id: user(), seq: Seq(1), now: WALL },
        StoreRequest::LoadBacklog { tenant: TENANT, user_id: user() },
        StoreRequest::ReadFrames { tenant: TENANT, room_id: room_id(), after: Seq(0), bounds: BOUNDS },
        StoreRequest::ReadHead { tenant: TENANT, room_id: room_id() },
    ];
    for actor in actors {
        requests.extend([
            StoreRequest::ListRooms { tenant: TENANT, actor: actor.clone(), after: None, limit: 1_000 },
            StoreRequest::ReadRoom { tenant: TENANT, room_id: room_id(), actor: actor.clone() },
            StoreRequest::ListMembers {
                tenant: TENANT,
                room_id: room_id(),
                actor: actor.clone(),
                after: Some(user()),
                limit: 1,
            },
            StoreRequest::ReadMessages {
                tenant: TENANT,
                room_id: room_id(),
                actor,
                range: HistoryRange::Before(Seq(9)),
                bounds: BOUNDS,
            },
        ]);
    }
    requests
}

pub(super) fn replies() -> Vec<StoreReply> {
    vec![
        StoreReply::Booted { epoch: "e".to_owned(), newest_id: Some(IdStamp(u128::MAX)) },
        StoreReply::Booted { epoch: String::new(), newest_id: None },
        StoreReply::Written,
        StoreReply::TenantCreated(tenant()),
        StoreReply::Tenant(Some(tenant())),
        StoreReply::Tenant(None),
        StoreReply::RoomCreated(CreatedRoom::New(room())),
        StoreReply::RoomCreated(CreatedRoom::Existing { room: room(), members: vec![user()] }),
        StoreReply::Rooms { rooms: listed_rooms(), has_more: true },
        StoreReply::Room(Ok(room())),
        StoreReply::Room(Err(AccessRefusal::NoRoom)),
        StoreReply::Members(Ok(member_page())),
        StoreReply::Members(Err(AccessRefusal::NotMember)),
        StoreReply::Appended(Ok(Appended { message: message(), outcome: AppendOutcome::Stored })),
        StoreReply::Appended(Ok(Appended { message: message(), outcome: AppendOutcome::Replayed })),
        StoreReply::Appended(Err(AppendRefusal::Access(AccessRefusal::NoRoom))),
        StoreReply::Appended(Err(AppendRefusal::KeyReused)),
        StoreReply::Messages(Ok(message_page())),
        StoreReply::Messages(Err(AccessRefusal::NoRoom)),
        StoreReply::Acknowledged(Ok(Acknowledged { last_ack: Seq(u64::MAX), moved: true })),
        StoreReply::Acknowledged(Err(AcknowledgeRefusal::PastHead)),
        StoreReply::Acknowledged(Err(AcknowledgeRefusal::Access(AccessRefusal::NotMember))),
        StoreReply::Backlog(vec![BacklogRoom { room_id: room_id(), last_ack: Seq(1), last_seq: Seq(2) }]),
        StoreReply::Frames(vec![(Seq(1), frame()), (Seq(2), frame())]),
        StoreReply::Head(Some(Seq(u64::MAX))),
        StoreReply::Head(None),
    ]
}

fn metrics() -> MetricsSnapshot {
    let mut rest_latency = Histogram::default();
    rest_latency.observe(Micros(u64::MAX));
    let process = ProcessGauges { wal_bytes: u64::MAX, ..ProcessGauges::default() };
    MetricsSnapshot { messages_sent: u64::MAX, rest_latency, process, ..MetricsSnapshot::default() }
}

pub(super) fn successes() -> Vec<Success> {
    vec![
        Success::Health(Health { db_writable: true, uptime: Micros(u64::MAX) }),
        Success::Alive,
        Success::Ready,
        Success::Metrics(Box::new(metrics())),
        Success::TenantCreated(Box::new(TenantCreated {
            tenant_id: TenantId::new("tenant_1"),
            name: "n".to_owned(),
            api_key: secret(API_KEY),
            config: config(),
            webhook_secret: Some(secret(WEBHOOK_SECRET)),
            created_at: WALL,
        })),
        Success::Rooms { rooms: listed_rooms(), has_more: false },
        Success::RoomCreated(Box::new(room())),
        Success::Room(Box::new(room())),
        Success::Members(member_page()),
        Success::Message(Box::new(message())),
        Success::Messages(message_page()),
        Success::Acknowledged { room_id: room_id(), last_ack: Seq(4) },
        Success::Token(secret(TOKEN)),
    ]
}

fn frames() -> Vec<ClientFrame> {
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
    for access in [Access::Public, Access::Metrics, Access::Master, Access::User, Access::UserOrTenant] {
        inputs.push(request(access, Err(failure())));
    }
    let nobody = ApiRequest { access: Access::User, credentials: credentials(None), call: Ok(Call::Health) };
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
    effects.extend(FAILURES.map(|failure| Effect::Report(Event::StoreFailed { op: OP, failure })));
    effects.extend([
        Effect::Accept { request: REQUEST, conn: CONN, rate_limit },
        Effect::Send { conns: vec![CONN, ConnId(0)], frame: frame() },
        Effect::Ping { conns: Vec::new() },
        Effect::Report(Event::Ready),
        Effect::Report(Event::TenantCreated { tenant_id: TenantId::new("tenant_1") }),
        Effect::Report(Event::StoreTimedOut { op: OP }),
        Effect::Report(Event::RoomRecovered { room_id: room_id() }),
        Effect::Stop,
    ]);
    effects
}

fn users() -> [UserHeader; 3] {
    [UserHeader::Absent, UserHeader::Invalid, UserHeader::User(user())]
}

const FAILURES: [StoreFailure; 4] =
    [StoreFailure::Busy, StoreFailure::Full, StoreFailure::Failed, StoreFailure::OutcomeUnknown];

const REASONS: [CloseReason; 6] = [
    CloseReason::Shutdown,
    CloseReason::TooManyConnections,
    CloseReason::TooManyInvalidFrames,
    CloseReason::SlowReader,
    CloseReason::StoreUnavailable,
    CloseReason::Unresponsive,
];

const CODES: [ErrorCode; 3] = [ErrorCode::Validation, ErrorCode::Unavailable, ErrorCode::HttpVersionNotSupported];

/// Names the variants of an enum, and which of them a value is. The compiler refuses a list that leaves one out.
macro_rules! variants {
    ($($name:ident of $type:ident: $($variant:ident)*;)*) => {
        $(pub(super) fn $name(value: &$type) -> (&'static str, &'static [&'static str]) {
            let name = match value { $($type::$variant { .. } => stringify!($variant),)* };
            (name, &[$(stringify!($variant)),*])
        })*
    };
}

variants! {
    input of Input: Request Handshake Frame Heard Flushed Closed Stored Tick Shutdown;
    effect of Effect: Store Respond Accept Send Ping Close Report Stop;
    call of Call: Health Livez Readyz Metrics CreateTenant ListRooms CreateRoom ReadRoom ListMembers SendMessage
        ReadMessages Acknowledge IssueToken;
    store_request of StoreRequest: Boot CheckWritable CreateTenant FindTenant CreateRoom ListRooms ReadRoom ListMembers
        AppendMessage ReadMessages Acknowledge LoadBacklog ReadFrames ReadHead;
    store_reply of StoreReply: Booted Written TenantCreated Tenant RoomCreated Rooms Room Members Appended Messages
        Acknowledged Backlog Frames Head;
    success of Success: Health Alive Ready Metrics TenantCreated Rooms RoomCreated Room Members Message Messages
        Acknowledged Token;
}
