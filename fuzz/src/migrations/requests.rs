//! Everything that a store can be asked, once.

use std::sync::mpsc;

use chatapi_core::api::{Answer, Cors, MetricsFormat, ResponseMeta, Success, encode};
use chatapi_core::model::{Role, RoomType, TenantConfig, dm_unique_key};
use chatapi_core::store::{
    Actor, Appended, CreatedRoom, HistoryRange, Idempotency, NewMessage, NewRoom, NewTenant, PageBounds, StoreReply,
    StoreRequest, StoreResult,
};
use chatapi_core::{Digest, MessageId, OpId, RoomId, Secret, Seq, TenantId, TenantKey, UnixMillis, UserId};
use chatapi_storage_sqlite::{Readers, Store, Writer};
use serde::de::IgnoredAny;

/// How many there are of each kind: few, so that damage hits what is read.
const TENANTS: u8 = 2;
const ROOMS: u8 = 3;
const MESSAGES: u8 = 16;
/// Its content is longer than a page, so that it spills over.
const LONG_MESSAGE: u8 = 7;

/// Asks, and checks that what is answered can be encoded.
pub(super) fn ask_everything(store: &Store) {
    for result in answers(store).into_iter().flatten() {
        check_reply(result);
    }
}

/// What was not answered, of a database that is whole.
#[cfg(test)]
pub(super) fn failures(store: &Store) -> Vec<String> {
    let answers = answers(store).expect("it opens for all");
    answers.iter().filter(|result| result.is_err()).map(|failure| format!("{failure:?}")).collect()
}

/// Every step that was submitted is answered, whatever with; `None` where a connection did not open.
fn answers(store: &Store) -> Option<Vec<StoreResult>> {
    let readers = Readers::open(store, 1).ok()?;
    let mut results: Vec<_> = reading().iter().map(|request| readers.read(request)).collect();
    let (sender, receiver) = mpsc::channel();
    let on_replies = Box::new(move |replies| drop(sender.send(replies)));
    let writer = Writer::start(store, on_replies).ok()?;
    let steps = [reading_in_order(), more(), reading_in_order()].concat();
    let expected = steps.len();
    // In two batches, so that the second meets what the first left behind.
    let mut ops = (0..).map(OpId).zip(steps);
    writer.submit(ops.by_ref().take(expected / 2).collect());
    writer.submit(ops.collect());
    writer.close();
    let replies: Vec<(OpId, StoreResult)> = receiver.into_iter().flatten().collect();
    let is_complete = replies.iter().map(|(op, _)| *op).eq((0..expected as u64).map(OpId));
    assert!(is_complete, "each step is answered, in order");
    results.extend(replies.into_iter().map(|(_, result)| result));
    results.extend(reading().iter().map(|request| readers.read(request)));
    Some(results)
}

/// Tenants, rooms and messages.
pub(super) fn filling() -> Vec<StoreRequest> {
    let tenants = (1..=TENANTS).map(new_tenant);
    let rooms = (1..=ROOMS).map(|number| new_room(number, None));
    let dm = new_room(ROOMS + 1, Some(dm_unique_key(&user(1), &user(2))));
    let messages = (0..MESSAGES).map(|number| new_message(number, 1 + number % ROOMS));
    let acks = (1..=ROOMS).map(acknowledge);
    tenants.chain(rooms).chain([dm]).chain(messages).chain(acks).collect()
}

/// What is written to a database that was opened.
fn more() -> Vec<StoreRequest> {
    vec![
        StoreRequest::CheckWritable { now: UnixMillis(1_765_627_800_000) },
        new_tenant(TENANTS + 1),
        new_room(ROOMS + 2, None),
        new_room(ROOMS + 3, Some(dm_unique_key(&user(1), &user(2)))),
        new_message(0, 1),
        new_message(MESSAGES, 1),
        new_message(MESSAGES + 1, 1),
        new_message(MESSAGES + 2, ROOMS + 4),
        acknowledge(1),
        acknowledge(ROOMS + 4),
    ]
}

/// What the writer is asked to read.
fn reading_in_order() -> Vec<StoreRequest> {
    let tenant = TenantKey(1);
    vec![
        StoreRequest::Boot,
        StoreRequest::LoadBacklog { tenant, user_id: user(1) },
        StoreRequest::ReadHead { tenant, room_id: room(1) },
    ]
}

/// What the readers are asked.
fn reading() -> Vec<StoreRequest> {
    let tenant = TenantKey(1);
    let bounds = PageBounds { messages: 50, size_bytes: 64 * 1024 };
    let mut requests = vec![StoreRequest::FindTenant { api_key: api_key(1) }];
    for actor in [Actor::Tenant, Actor::User(user(1))] {
        let listed = StoreRequest::ListRooms { tenant, actor: actor.clone(), after: Some(room(9)), limit: 2 };
        let read = StoreRequest::ReadRoom { tenant, room_id: room(1), actor: actor.clone() };
        let members =
            StoreRequest::ListMembers { tenant, room_id: room(2), actor: actor.clone(), after: None, limit: 10 };
        requests.extend([listed, read, members]);
        for range in [HistoryRange::After(Seq(1)), HistoryRange::Before(Seq(i64::MAX.unsigned_abs()))] {
            let actor = actor.clone();
            requests.push(StoreRequest::ReadMessages { tenant, room_id: room(1), actor, range, bounds });
        }
    }
    requests.push(StoreRequest::ReadFrames { tenant, room_id: room(1), after: Seq(0), bounds });
    requests
}

fn new_tenant(number: u8) -> StoreRequest {
    StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: TenantId::new(&format!("tenant_d21fznxhmmb6vjg{number}")),
        name: format!("Tenant {number}"),
        api_key: api_key(number),
        config: TenantConfig { webhook_url: Some("https://a.example/hook".to_owned()), ..TenantConfig::default() },
        webhook_secret: Some(Secret::new("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".to_owned())),
        created_at: UnixMillis(1_765_627_800_000),
    }))
}

fn new_room(number: u8, unique_key: Option<String>) -> StoreRequest {
    StoreRequest::CreateRoom(Box::new(NewRoom {
        tenant: TenantKey(1),
        room_id: room(number),
        kind: if unique_key.is_some() { RoomType::Dm } else { RoomType::Group },
        unique_key,
        name: Some(format!("Room {number}")),
        metadata: Some("{\"a\":1}".to_owned()),
        members: vec![(user(1), Role::Admin), (user(2), Role::Member)],
        created_at: UnixMillis(1_765_627_800_000),
    }))
}

fn new_message(number: u8, in_room: u8) -> StoreRequest {
    StoreRequest::AppendMessage(Box::new(NewMessage {
        tenant: TenantKey(1),
        room_id: room(in_room),
        sender_id: user(1 + number % 2),
        message_id: MessageId::new(&format!("msg_d21fznz3mty1{number:04}")),
        content: "Hello. ".repeat(if number == LONG_MESSAGE { 700 } else { 1 + usize::from(number % 4) }),
        meta: number.is_multiple_of(3).then(|| "{}".to_owned()),
        created_at: UnixMillis(1_765_627_800_000 + i64::from(number)),
        idempotency: number.is_multiple_of(2).then(|| Idempotency {
            key: format!("key-{number}"),
            body: Digest::of(&[number]),
            valid_since: UnixMillis(1_765_000_000_000),
        }),
    }))
}

fn acknowledge(number: u8) -> StoreRequest {
    StoreRequest::Acknowledge {
        tenant: TenantKey(1),
        room_id: room(number),
        user_id: user(1),
        seq: Seq(u64::from(number)),
        now: UnixMillis(1_765_627_900_000),
    }
}

fn api_key(number: u8) -> Digest {
    Digest::of(&[number])
}

fn room(number: u8) -> RoomId {
    RoomId::new(&format!("room_d21fznydg4s1hpn{number}"))
}

fn user(number: u8) -> UserId {
    UserId::new(&format!("user-{number}"))
}

/// What a damaged database answers goes to clients: it must at least be encodable, and be JSON.
fn check_reply(result: StoreResult) {
    let Ok(reply) = result else { return };
    let success = match reply {
        StoreReply::Rooms { rooms, has_more } => Success::Rooms { rooms, has_more },
        StoreReply::Room(Ok(room))
        | StoreReply::RoomCreated(CreatedRoom::New(room) | CreatedRoom::Existing { room, .. }) => {
            Success::Room(Box::new(room))
        }
        StoreReply::Members(Ok(page)) => Success::Members(page),
        StoreReply::Appended(Ok(Appended { message, .. })) => Success::Message(Box::new(message)),
        StoreReply::Messages(Ok(page)) => Success::Messages(page),
        StoreReply::Frames(frames) => {
            for (_, frame) in frames {
                assert!(serde_json::from_slice::<IgnoredAny>(frame.as_bytes()).is_ok(), "{frame:?}");
            }
            return;
        }
        StoreReply::Booted { .. }
        | StoreReply::Written
        | StoreReply::TenantCreated(_)
        | StoreReply::Tenant(_)
        | StoreReply::Backlog(_)
        | StoreReply::Head(_)
        | StoreReply::Acknowledged(_)
        | StoreReply::Room(Err(_))
        | StoreReply::Members(Err(_))
        | StoreReply::Messages(Err(_))
        | StoreReply::Appended(Err(_)) => return,
    };
    let meta = ResponseMeta {
        request_id: "r".to_owned(),
        is_head: false,
        cors: Cors::Silent,
        metrics_format: MetricsFormat::Json,
    };
    let response = encode(&meta, &Answer { rate_limit: None, result: Ok(success) });
    assert!(response.body.starts_with(b"{\"") && serde_json::from_slice::<IgnoredAny>(&response.body).is_ok());
}
