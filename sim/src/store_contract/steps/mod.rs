//! Single steps, asked and unwrapped, for the cases to tell what they mean.

use chatapi_core::model::{ReadPosition, Role, RoomType, Tenant, TenantConfig};
use chatapi_core::store::{
    AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, AppendRefusal, Appended, BacklogRoom, CreatedRoom,
    HistoryRange, Idempotency, KeyOwner, MessagePage, NewMessage, NewRoom, NewTenant, PageBounds, StoreFailure,
    StoreReply, StoreRequest,
};
use chatapi_core::{Digest, IdStamp, MessageId, RoomId, Seq, TenantId, TenantKey, UnixMillis, UserId};

use super::StoreUnderTest;

/// Asks for a step, and hands back what its reply holds.
macro_rules! answer {
    ($store:expr, $request:expr, $reply:ident) => {
        match $crate::store_contract::steps::ask($store, &$request) {
            StoreReply::$reply(answer) => answer,
            other => panic!("not answered as asked: {other:?}"),
        }
    };
}

mod messages;
mod notifications;
mod rooms;
mod tenants;

pub(super) use messages::*;
pub(super) use notifications::*;
pub(super) use rooms::*;
pub(super) use tenants::*;

pub(super) const NOW: UnixMillis = UnixMillis(1_765_627_800_123);
pub(super) const ALL: PageBounds = PageBounds { messages: 100, size_bytes: 1 << 20 };
pub(super) const FIRST: TenantKey = TenantKey(1);
pub(super) const SECOND: TenantKey = TenantKey(2);

pub(super) type Store<'s> = &'s mut dyn StoreUnderTest;

/// Two tenants; in the first `room_1` with alice, its admin, and bob.
pub(super) fn world(store: Store<'_>) {
    assert_eq!(tenant(store, 1).map(|tenant| tenant.key), Ok(FIRST));
    assert_eq!(tenant(store, 2).map(|tenant| tenant.key), Ok(SECOND));
    group(store, FIRST, "room_1", &["alice", "bob"]);
}

pub(super) fn ask(store: Store<'_>, request: &StoreRequest) -> StoreReply {
    match store.execute(request) {
        Ok(reply) => reply,
        Err(failure) => panic!("{failure:?} to {request:?}"),
    }
}

pub(super) fn boot(store: Store<'_>) -> (String, Option<IdStamp>) {
    let StoreReply::Booted { epoch, newest_id } = ask(store, &StoreRequest::Boot) else { panic!("not booted") };
    (epoch, newest_id)
}

pub(super) fn tenant(store: Store<'_>, number: u8) -> Result<Tenant, StoreFailure> {
    let request = StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: TenantId::new(&format!("tenant_{number}")),
        name: format!("Tenant {number}"),
        api_key: Digest([number; 32]),
        config: TenantConfig {
            webhook_url: Some("https://example.com/hook".to_owned()),
            durable_notifications: Some(false),
            ..TenantConfig::default()
        },
        webhook_secret: None,
        created_at: NOW,
    }));
    let StoreReply::TenantCreated(tenant) = store.execute(&request)? else { panic!("not answered as asked") };
    Ok(tenant)
}

pub(super) fn find(store: Store<'_>, number: u8) -> Option<KeyOwner> {
    let request = StoreRequest::FindTenant { api_key: Digest([number; 32]) };
    let StoreReply::KeyOwner(owner) = ask(store, &request) else { panic!("not answered as asked") };
    owner
}

pub(super) fn new_room(
    tenant: TenantKey,
    room: &str,
    kind: RoomType,
    unique_key: Option<&str>,
    members: &[&str],
) -> StoreRequest {
    let roles = std::iter::once(Role::Admin).chain(std::iter::repeat(Role::Member));
    StoreRequest::CreateRoom(Box::new(NewRoom {
        tenant,
        room_id: room_id(room),
        kind,
        unique_key: unique_key.map(str::to_owned),
        name: Some("A room".to_owned()),
        metadata: None,
        members: members.iter().map(|id| UserId::new(id)).zip(roles).collect(),
        created_at: NOW,
    }))
}

pub(super) fn group(store: Store<'_>, tenant: TenantKey, room: &str, members: &[&str]) {
    let reply = ask(store, &new_room(tenant, room, RoomType::Group, None, members));
    assert!(matches!(reply, StoreReply::RoomCreated(CreatedRoom::New(_))), "{reply:?}");
}

pub(super) fn message(sender: &str, id: &str) -> NewMessage {
    NewMessage {
        tenant: FIRST,
        room_id: room_id("room_1"),
        sender_id: UserId::new(sender),
        message_id: MessageId::new(id),
        content: format!("Hello from {sender}"),
        meta: None,
        created_at: NOW,
        idempotency: None,
    }
}

pub(super) fn keyed(sender: &str, id: &str, key: &str, body: u8) -> NewMessage {
    NewMessage {
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            body: Digest([body; 32]),
            valid_since: UnixMillis(NOW.0 - 1_000),
        }),
        ..message(sender, id)
    }
}

pub(super) fn append(store: Store<'_>, message: NewMessage) -> Result<Appended, AppendRefusal> {
    let StoreReply::Appended(outcome) = ask(store, &StoreRequest::AppendMessage(Box::new(message))) else {
        panic!("not answered as asked")
    };
    outcome
}

pub(super) fn send(store: Store<'_>, sender: &str, id: &str) -> Seq {
    match append(store, message(sender, id)) {
        Ok(stored) => stored.message.seq,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

pub(super) fn page(
    store: Store<'_>,
    tenant: TenantKey,
    actor: &Actor,
    range: HistoryRange,
    bounds: PageBounds,
) -> Result<MessagePage, AccessRefusal> {
    let request =
        StoreRequest::ReadMessages { tenant, room_id: room_id("room_1"), actor: actor.clone(), range, bounds };
    let StoreReply::Messages(page) = ask(store, &request) else { panic!("not answered as asked") };
    page
}

pub(super) fn history(store: Store<'_>, range: HistoryRange, bounds: PageBounds) -> (Vec<u64>, bool) {
    match page(store, FIRST, &user("bob"), range, bounds) {
        Ok(page) => (page.messages.iter().map(|message| message.seq.0).collect(), page.has_more),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

pub(super) fn frames(store: Store<'_>, tenant: TenantKey) -> usize {
    let request = StoreRequest::ReadFrames { tenant, rooms: vec![(room_id("room_1"), Seq(0))], bounds: ALL };
    let StoreReply::Frames(pages) = ask(store, &request) else { panic!("not answered as asked") };
    let frames = pages.concat();
    frames.len()
}

pub(super) fn head(store: Store<'_>, tenant: TenantKey) -> Option<Seq> {
    let room_id = room_id("room_1");
    let StoreReply::Head(head) = ask(store, &StoreRequest::ReadHead { tenant, room_id }) else {
        panic!("not answered as asked")
    };
    head
}

pub(super) fn acknowledge(
    store: Store<'_>,
    tenant: TenantKey,
    user_id: &str,
    seq: Seq,
) -> Result<Acknowledged, AcknowledgeRefusal> {
    let request =
        StoreRequest::Acknowledge { tenant, room_id: room_id("room_1"), user_id: UserId::new(user_id), seq, now: NOW };
    let StoreReply::Acknowledged(outcome) = ask(store, &request) else { panic!("not answered as asked") };
    outcome
}

pub(super) fn backlog(store: Store<'_>, tenant: TenantKey, user_id: &str) -> Vec<BacklogRoom> {
    let user_id = UserId::new(user_id);
    let StoreReply::Backlog(backlog) = ask(store, &StoreRequest::LoadBacklog { tenant, user_id }) else {
        panic!("not answered as asked")
    };
    backlog.rooms
}

pub(super) fn rooms(
    store: Store<'_>,
    tenant: TenantKey,
    actor: &Actor,
    after: Option<&str>,
    limit: u32,
) -> (Vec<String>, bool) {
    let request = StoreRequest::ListRooms { tenant, actor: actor.clone(), after: after.map(room_id), limit };
    let StoreReply::Rooms { rooms, has_more } = ask(store, &request) else { panic!("no rooms") };
    let of_user = matches!(actor, Actor::User(_));
    assert!(rooms.iter().all(|listed| listed.position.is_some() == of_user));
    (rooms.iter().map(|listed| listed.room.room_id.to_string()).collect(), has_more)
}

pub(super) fn position(store: Store<'_>, user_id: &str) -> (u64, u32) {
    let request = StoreRequest::ListRooms { tenant: FIRST, actor: user(user_id), after: None, limit: 10 };
    let StoreReply::Rooms { rooms, .. } = ask(store, &request) else { panic!("no rooms") };
    match rooms[0].position {
        Some(ReadPosition { last_ack, unread_count }) => (last_ack.0, unread_count),
        None => panic!("no position"),
    }
}

pub(super) fn list_members(tenant: TenantKey, actor: &Actor, after: Option<&str>, limit: u32) -> StoreRequest {
    StoreRequest::ListMembers {
        tenant,
        room_id: room_id("room_1"),
        actor: actor.clone(),
        after: after.map(UserId::new),
        limit,
    }
}

pub(super) fn user(id: &str) -> Actor {
    Actor::User(UserId::new(id))
}

pub(super) fn room_id(id: &str) -> RoomId {
    RoomId::new(id)
}

pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
