//! Everything that a store can be asked, once.

use std::sync::mpsc;

use chatapi_core::api::{Answer, Cors, MetricsFormat, ResponseMeta, Success, TenantShown, encode};
use chatapi_core::model::{Edit, Role, RoomType, TenantConfig, dm_unique_key};
use chatapi_core::store::{
    Actor, Appended, ChangedTenant, ConfigChange, CreatedRoom, HistoryRange, Idempotency, KeyRotation, MessageEdit,
    NewMember, NewMessage, NewNotification, NewRoom, NewTenant, NotificationTargets, PageBounds, PendingNotifications,
    RoomChange, StoreReply, StoreRequest, StoreResult, Subscribed, TenantChange,
};
use chatapi_core::ws::Frame;
use chatapi_core::{
    Digest, MessageId, NotificationId, NotificationKey, OpId, RoomId, Secret, Seq, TenantId, TenantKey, UnixMillis,
    UserId,
};
use chatapi_storage_sqlite::{Readers, Store, Writer};
use serde::de::IgnoredAny;

/// How many there are of each kind: few, so that damage hits what is read.
const TENANTS: u8 = 2;
const ROOMS: u8 = 3;
const MESSAGES: u8 = 16;
const NOTIFICATIONS: u8 = 3;
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

/// Tenants, rooms, messages, and of everything else a little.
pub(super) fn filling() -> Vec<StoreRequest> {
    let tenants = (1..=TENANTS).map(new_tenant);
    let rooms = (1..=ROOMS).map(|number| new_room(number, None));
    let dm = new_room(ROOMS + 1, Some(dm_unique_key(&user(1), &user(2))));
    let messages = (0..MESSAGES).map(|number| new_message(number, 1 + number % ROOMS));
    let acks = (1..=ROOMS).map(acknowledge);
    let subscriptions = (1..=3).map(subscribe);
    let notifications = (1..=NOTIFICATIONS).map(notify);
    let ends = [expand(1), edit(1), delete_message(2), rotate_key(1, 101), delete_room(ROOMS), delete_tenant(TENANTS)];
    let live = tenants.chain(rooms).chain([dm]).chain(messages).chain(acks);
    live.chain(subscriptions).chain(notifications).chain(ends).collect()
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
        change_tenant(1),
        rotate_key(1, 102),
        change_room(1),
        add_member(1, 3),
        remove_member(1, 2),
        edit(3),
        delete_message(4),
        subscribe(4),
        StoreRequest::Unsubscribe { tenant: TenantKey(1), user_id: user(1), subscription_id: 1 },
        notify(NOTIFICATIONS + 1),
        expand(2),
        expand(2),
        StoreRequest::ConfirmNotifications {
            tenant: TenantKey(1),
            user_id: user(1),
            notifications: vec![NotificationKey(1), NotificationKey(9)],
        },
        sweep(4),
        delete_room(2),
        delete_tenant(TENANTS + 1),
        sweep(100),
    ]
}

/// What the writer is asked to read.
fn reading_in_order() -> Vec<StoreRequest> {
    let tenant = TenantKey(1);
    vec![
        StoreRequest::Boot,
        StoreRequest::LoadBacklog { tenant, user_id: user(1) },
        StoreRequest::LoadPositions { tenant, user_id: user(1), rooms: vec![room(1), room(9)] },
        StoreRequest::ReadHead { tenant, room_id: room(1) },
        StoreRequest::ReadTenant { tenant_id: tenant_id(1) },
        StoreRequest::ListExpansions,
    ]
}

/// What the readers are asked.
fn reading() -> Vec<StoreRequest> {
    let tenant = TenantKey(1);
    let bounds = PageBounds { messages: 50, size_bytes: 64 * 1024 };
    let mut requests = vec![
        StoreRequest::FindTenant { api_key: api_key(1) },
        StoreRequest::FindTenant { api_key: api_key(101) },
        StoreRequest::ListTenants { after: None, limit: 10 },
        StoreRequest::ListSubscriptions { tenant, user_id: user(1) },
        StoreRequest::ReadNotifications(PendingNotifications {
            tenant,
            user_id: user(1),
            after: NotificationKey(0),
            since: UnixMillis(0),
            limit: 10,
            size_bytes: 64 * 1024,
        }),
    ];
    for actor in [Actor::Tenant, Actor::User(user(1))] {
        let listed = StoreRequest::ListRooms { tenant, actor: actor.clone(), after: Some(room(9)), limit: 2 };
        let read = StoreRequest::ReadRoom { tenant, room_id: room(1), actor: actor.clone() };
        let members =
            StoreRequest::ListMembers { tenant, room_id: room(2), actor: actor.clone(), after: None, limit: 10 };
        let receipts =
            StoreRequest::ListReceipts { tenant, room_id: room(1), actor: actor.clone(), after: None, limit: 10 };
        let message =
            StoreRequest::ReadMessage { tenant, room_id: room(1), message_id: message(3), actor: actor.clone() };
        requests.extend([listed, read, members, receipts, message]);
        for range in [HistoryRange::After(Seq(1)), HistoryRange::Before(Seq(i64::MAX.unsigned_abs()))] {
            let actor = actor.clone();
            requests.push(StoreRequest::ReadMessages { tenant, room_id: room(1), actor, range, bounds });
        }
    }
    requests.push(StoreRequest::ReadFrames { tenant, rooms: vec![(room(1), Seq(0)), (room(2), Seq(0))], bounds });
    requests
}

fn new_tenant(number: u8) -> StoreRequest {
    StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: tenant_id(number),
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
        message_id: message(number),
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

fn change_tenant(number: u8) -> StoreRequest {
    StoreRequest::ChangeTenant(Box::new(TenantChange {
        tenant_id: tenant_id(number),
        name: Some("Another".to_owned()),
        config: ConfigChange { rate_limit: Edit::Set(7), webhook_url: Edit::Clear, ..ConfigChange::default() },
        fresh_secret: Secret::new("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".to_owned()),
    }))
}

fn rotate_key(number: u8, fresh: u8) -> StoreRequest {
    StoreRequest::RotateKey(KeyRotation {
        tenant_id: tenant_id(number),
        api_key: api_key(fresh),
        retired_until: UnixMillis(1_765_628_000_000),
        now: UnixMillis(1_765_627_900_000),
    })
}

fn delete_tenant(number: u8) -> StoreRequest {
    StoreRequest::DeleteTenant { tenant_id: tenant_id(number), now: UnixMillis(1_765_627_900_000) }
}

fn change_room(number: u8) -> StoreRequest {
    StoreRequest::ChangeRoom(Box::new(RoomChange {
        tenant: TenantKey(1),
        room_id: room(number),
        actor: Actor::User(user(1)),
        name: Edit::Set("Another".to_owned()),
        metadata: Edit::Keep,
    }))
}

fn delete_room(number: u8) -> StoreRequest {
    StoreRequest::DeleteRoom {
        tenant: TenantKey(1),
        room_id: room(number),
        actor: Actor::Tenant,
        now: UnixMillis(1_765_627_900_000),
    }
}

fn add_member(number: u8, member: u8) -> StoreRequest {
    StoreRequest::AddMember(Box::new(NewMember {
        tenant: TenantKey(1),
        room_id: room(number),
        actor: Actor::User(user(1)),
        user_id: user(member),
        role: None,
        now: UnixMillis(1_765_627_900_000),
    }))
}

fn remove_member(number: u8, member: u8) -> StoreRequest {
    StoreRequest::RemoveMember {
        tenant: TenantKey(1),
        room_id: room(number),
        actor: Actor::Tenant,
        user_id: user(member),
        now: UnixMillis(1_765_627_900_000),
    }
}

fn edit(number: u8) -> StoreRequest {
    StoreRequest::EditMessage(Box::new(MessageEdit {
        tenant: TenantKey(1),
        room_id: room(1 + number % ROOMS),
        message_id: message(number),
        user_id: user(1 + number % 2),
        content: "Edited.".to_owned(),
        meta: Edit::Clear,
        now: UnixMillis(1_765_627_900_000),
    }))
}

fn delete_message(number: u8) -> StoreRequest {
    StoreRequest::DeleteMessage {
        tenant: TenantKey(1),
        room_id: room(1 + number % ROOMS),
        message_id: message(number),
        actor: Actor::Tenant,
        now: UnixMillis(1_765_627_900_000),
    }
}

fn subscribe(number: u8) -> StoreRequest {
    StoreRequest::Subscribe {
        tenant: TenantKey(1),
        user_id: user(number),
        topic: "topic".to_owned(),
        now: UnixMillis(1_765_627_800_000),
    }
}

fn notify(number: u8) -> StoreRequest {
    StoreRequest::Notify(Box::new(NewNotification {
        tenant: TenantKey(1),
        notification_id: NotificationId::new(&format!("notif_d21fznz3mty1{number:04}")),
        topic: "topic".to_owned(),
        payload: "{\"a\":1}".to_owned(),
        targets: NotificationTargets { user_ids: vec![user(1)], room_id: Some(room(1)), topic_subscribers: true },
        durable: true,
        created_at: UnixMillis(1_765_627_800_000),
    }))
}

fn expand(number: i64) -> StoreRequest {
    StoreRequest::ExpandNotification { notification: NotificationKey(number), limit: 2 }
}

fn sweep(rows: u32) -> StoreRequest {
    StoreRequest::Sweep { notifications_before: UnixMillis(0), keys_before: UnixMillis(0), rows }
}

fn api_key(number: u8) -> Digest {
    Digest::of(&[number])
}

fn tenant_id(number: u8) -> TenantId {
    TenantId::new(&format!("tenant_d21fznxhmmb6vjg{number}"))
}

fn message(number: u8) -> MessageId {
    MessageId::new(&format!("msg_d21fznz3mty1{number:04}"))
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
        StoreReply::Tenants(page) => Success::Tenants(page),
        StoreReply::Tenant(Some(tenant)) | StoreReply::TenantChanged(Some(ChangedTenant { tenant, .. })) => {
            Success::Tenant(Box::new(TenantShown { tenant, webhook_secret: None }))
        }
        StoreReply::Rooms { rooms, has_more } => Success::Rooms { rooms, has_more },
        StoreReply::Room(Ok(room))
        | StoreReply::RoomChanged(Ok(room))
        | StoreReply::RoomCreated(CreatedRoom::New(room) | CreatedRoom::Existing { room, .. }) => {
            Success::Room(Box::new(room))
        }
        StoreReply::Members(Ok(page)) => Success::Members(page),
        StoreReply::MemberAdded(Ok(added)) => Success::Member(added.member),
        StoreReply::Receipts(Ok(page)) => Success::Receipts(page),
        StoreReply::Appended(Ok(Appended { message, .. }))
        | StoreReply::Message(Ok(message))
        | StoreReply::MessageEdited(Ok(message)) => Success::Message(Box::new(message)),
        StoreReply::MessageDeleted(Ok(deleted)) => Success::Message(Box::new(deleted.message)),
        StoreReply::Messages(Ok(page)) => Success::Messages(page),
        StoreReply::Subscribed(Ok(Subscribed { subscription, .. })) => Success::Subscription(subscription),
        StoreReply::Subscriptions(subscriptions) => Success::Subscriptions(subscriptions),
        StoreReply::Frames(pages) => return pages.iter().flatten().for_each(|(_, frame)| check_frame(frame)),
        StoreReply::Notifications(page) => return page.notifications.iter().for_each(|(_, frame)| check_frame(frame)),
        StoreReply::Expanded(Some(expansion)) => return check_frame(&expansion.frame),
        StoreReply::Booted { .. }
        | StoreReply::Written
        | StoreReply::TenantCreated(_)
        | StoreReply::KeyOwner(_)
        | StoreReply::Tenant(None)
        | StoreReply::TenantChanged(None)
        | StoreReply::KeyRotated(_)
        | StoreReply::TenantDeleted(_)
        | StoreReply::RoomCreated(CreatedRoom::NoTenant)
        | StoreReply::RoomDeleted(_)
        | StoreReply::MemberRemoved(_)
        | StoreReply::Backlog(_)
        | StoreReply::Positions(_)
        | StoreReply::Head(_)
        | StoreReply::Acknowledged(_)
        | StoreReply::Notified(_)
        | StoreReply::Expansions(_)
        | StoreReply::Expanded(None)
        | StoreReply::Confirmed
        | StoreReply::Unsubscribed { .. }
        | StoreReply::Swept { .. }
        | StoreReply::Room(Err(_))
        | StoreReply::RoomChanged(Err(_))
        | StoreReply::Members(Err(_))
        | StoreReply::MemberAdded(Err(_))
        | StoreReply::Receipts(Err(_))
        | StoreReply::Messages(Err(_))
        | StoreReply::Message(Err(_))
        | StoreReply::MessageEdited(Err(_))
        | StoreReply::MessageDeleted(Err(_))
        | StoreReply::Subscribed(Err(_))
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

fn check_frame(frame: &Frame) {
    assert!(serde_json::from_slice::<IgnoredAny>(frame.as_bytes()).is_ok(), "{frame:?}");
}
