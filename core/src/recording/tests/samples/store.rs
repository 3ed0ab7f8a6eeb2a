//! What the store is asked, and what it answers.

use super::answers::receipts;
use super::calls::tenant_changes;
use super::{
    TENANT, TEXT, WALL, WEBHOOK_SECRET, api_key, config, frame, listed_rooms, member_page, message, message_page, room,
    room_id, secret, some, subscription, targets, tenant, tenant_page, user, variants,
};
use crate::id::{IdStamp, MessageId, NotificationId, NotificationKey, Seq, TenantId, UserId};
use crate::model::{Edit, Member, Role, RoomType};
use crate::secret::Digest;
use crate::store::{
    AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, AddMemberRefusal, AddOutcome, AddedMember, AppendOutcome,
    AppendRefusal, Appended, Backlog, BacklogRoom, ChangeRoomRefusal, ChangedTenant, CreatedRoom, DeleteMessageRefusal,
    DeleteOutcome, DeleteRoomRefusal, DeletedMessage, EditMessageRefusal, Expansion, HistoryRange, Idempotency,
    KeyOwner, KeyRotation, MessageEdit, NewMember, NewMessage, NewNotification, NewRoom, NewTenant, NotificationPage,
    NotifyRefusal, PageBounds, PendingNotifications, ReadMessageRefusal, RemoveMemberRefusal, RemovedMember,
    RoomChange, RoomPosition, SecretOutcome, StoreReply, StoreRequest, SubscribeOutcome, SubscribeRefusal, Subscribed,
};
use crate::time::UnixMillis;

const BOUNDS: PageBounds = PageBounds { messages: 100, size_bytes: u32::MAX };
const NOTIFICATION: NotificationKey = NotificationKey(i64::MAX);

fn tenant_id() -> TenantId {
    TenantId::new("tenant_1")
}

fn message_id() -> MessageId {
    MessageId::new("msg_1")
}

fn successor() -> Option<Member> {
    Some(Member { user_id: UserId::new("b"), role: Role::Admin, joined_at: WALL })
}

pub(in crate::recording::tests) fn requests() -> Vec<StoreRequest> {
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
        StoreRequest::ListTenants { after: None, limit: 100 },
        StoreRequest::ListTenants { after: Some(tenant_id()), limit: 1 },
        StoreRequest::ReadTenant { tenant_id: tenant_id() },
        StoreRequest::RotateKey(KeyRotation {
            tenant_id: tenant_id(),
            api_key: api_key(),
            retired_until: UnixMillis(i64::MAX),
            now: WALL,
        }),
        StoreRequest::DeleteTenant { tenant_id: tenant_id(), now: WALL },
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
        StoreRequest::EditMessage(Box::new(MessageEdit {
            tenant: TENANT,
            room_id: room_id(),
            message_id: message_id(),
            user_id: user(),
            content: TEXT.to_owned(),
            meta: Edit::Clear,
            now: WALL,
        })),
        StoreRequest::Acknowledge { tenant: TENANT, room_id: room_id(), user_id: user(), seq: Seq(1), now: WALL },
        StoreRequest::LoadBacklog { tenant: TENANT, user_id: user() },
        StoreRequest::LoadPositions { tenant: TENANT, user_id: user(), rooms: vec![room_id(), room_id()] },
        StoreRequest::ReadFrames { tenant: TENANT, rooms: vec![(room_id(), Seq(0))], bounds: BOUNDS },
        StoreRequest::ReadHead { tenant: TENANT, room_id: room_id() },
        StoreRequest::Notify(Box::new(NewNotification {
            tenant: TENANT,
            notification_id: NotificationId::new("notif_1"),
            topic: TEXT.to_owned(),
            payload: "null".to_owned(),
            targets: targets(),
            durable: true,
            created_at: WALL,
        })),
        StoreRequest::ListExpansions,
        StoreRequest::ExpandNotification { notification: NOTIFICATION, limit: u32::MAX },
        StoreRequest::ReadNotifications(PendingNotifications {
            tenant: TENANT,
            user_id: user(),
            after: NOTIFICATION,
            since: WALL,
            limit: 1,
            size_bytes: u32::MAX,
        }),
        StoreRequest::ConfirmNotifications { tenant: TENANT, user_id: user(), notifications: vec![NOTIFICATION] },
        StoreRequest::Subscribe { tenant: TENANT, user_id: user(), topic: TEXT.to_owned(), now: WALL },
        StoreRequest::ListSubscriptions { tenant: TENANT, user_id: user() },
        StoreRequest::Unsubscribe { tenant: TENANT, user_id: user(), subscription_id: u64::MAX },
        StoreRequest::Sweep { notifications_before: WALL, keys_before: WALL, rows: 1 },
    ];
    requests.extend(tenant_changes().map(|change| StoreRequest::ChangeTenant(Box::new(change))));
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
            StoreRequest::ListReceipts {
                tenant: TENANT,
                room_id: room_id(),
                actor: actor.clone(),
                after: None,
                limit: 10_000,
            },
            StoreRequest::ChangeRoom(Box::new(RoomChange {
                tenant: TENANT,
                room_id: room_id(),
                actor: actor.clone(),
                name: Edit::Set(TEXT.to_owned()),
                metadata: Edit::Clear,
            })),
            StoreRequest::DeleteRoom { tenant: TENANT, room_id: room_id(), actor: actor.clone(), now: WALL },
            StoreRequest::AddMember(Box::new(NewMember {
                tenant: TENANT,
                room_id: room_id(),
                actor: actor.clone(),
                user_id: user(),
                role: Some(Role::Member),
                now: WALL,
            })),
            StoreRequest::RemoveMember {
                tenant: TENANT,
                room_id: room_id(),
                actor: actor.clone(),
                user_id: user(),
                now: WALL,
            },
            StoreRequest::RereadMessage { tenant: TENANT, room_id: room_id(), message_id: MessageId::new("msg_1") },
            StoreRequest::ReadMessage {
                tenant: TENANT,
                room_id: room_id(),
                message_id: message_id(),
                actor: actor.clone(),
            },
            StoreRequest::DeleteMessage {
                tenant: TENANT,
                room_id: room_id(),
                message_id: message_id(),
                actor: actor.clone(),
                now: WALL,
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

pub(in crate::recording::tests) fn replies() -> Vec<StoreReply> {
    let mut replies = vec![
        StoreReply::Booted { epoch: "e".to_owned(), newest_id: Some(IdStamp(u128::MAX)) },
        StoreReply::Booted { epoch: String::new(), newest_id: None },
        StoreReply::Written,
        StoreReply::TenantCreated(tenant()),
        StoreReply::KeyOwner(Some(KeyOwner { tenant: tenant(), valid_until: None })),
        StoreReply::KeyOwner(Some(KeyOwner { tenant: tenant(), valid_until: Some(WALL) })),
        StoreReply::KeyOwner(None),
        StoreReply::Tenants(tenant_page()),
        StoreReply::Tenant(Some(tenant())),
        StoreReply::Tenant(None),
        StoreReply::TenantChanged(None),
        StoreReply::KeyRotated(Some(TENANT)),
        StoreReply::KeyRotated(None),
        StoreReply::TenantDeleted(Some(TENANT)),
        StoreReply::TenantDeleted(None),
        StoreReply::RoomCreated(CreatedRoom::New(room())),
        StoreReply::RoomCreated(CreatedRoom::NoTenant),
        StoreReply::RoomCreated(CreatedRoom::Existing { room: room(), members: vec![user()] }),
        StoreReply::Rooms { rooms: listed_rooms(), has_more: true },
        StoreReply::Room(Ok(room())),
        StoreReply::Room(Err(AccessRefusal::NoRoom)),
        StoreReply::RoomChanged(Ok(room())),
        StoreReply::RoomChanged(Err(ChangeRoomRefusal::Access(AccessRefusal::NotMember))),
        StoreReply::RoomChanged(Err(ChangeRoomRefusal::NotAdmin)),
        StoreReply::RoomDeleted(Ok(())),
        StoreReply::RoomDeleted(Err(DeleteRoomRefusal::Access(AccessRefusal::NoRoom))),
        StoreReply::RoomDeleted(Err(DeleteRoomRefusal::NotAdmin)),
        StoreReply::RoomDeleted(Err(DeleteRoomRefusal::IsDm)),
        StoreReply::MemberAdded(Err(AddMemberRefusal::Access(AccessRefusal::NoRoom))),
        StoreReply::MemberAdded(Err(AddMemberRefusal::NotAdmin)),
        StoreReply::MemberAdded(Err(AddMemberRefusal::IsDm)),
        StoreReply::MemberRemoved(Ok(RemovedMember { role: Role::Admin, members: 0, successor: None })),
        StoreReply::MemberRemoved(Ok(RemovedMember { role: Role::Member, members: u32::MAX, successor: successor() })),
        StoreReply::MemberRemoved(Err(RemoveMemberRefusal::Access(AccessRefusal::NotMember))),
        StoreReply::MemberRemoved(Err(RemoveMemberRefusal::NotAdmin)),
        StoreReply::MemberRemoved(Err(RemoveMemberRefusal::IsDm)),
        StoreReply::MemberRemoved(Err(RemoveMemberRefusal::NoMember)),
        StoreReply::Members(Ok(member_page())),
        StoreReply::Members(Err(AccessRefusal::NotMember)),
        StoreReply::Receipts(Ok(receipts())),
        StoreReply::Receipts(Err(AccessRefusal::NoRoom)),
        StoreReply::Appended(Ok(Appended { message: message(), outcome: AppendOutcome::Stored })),
        StoreReply::Appended(Ok(Appended { message: message(), outcome: AppendOutcome::Replayed })),
        StoreReply::Appended(Err(AppendRefusal::Access(AccessRefusal::NoRoom))),
        StoreReply::Appended(Err(AppendRefusal::KeyReused)),
        StoreReply::Messages(Ok(message_page())),
        StoreReply::Messages(Err(AccessRefusal::NoRoom)),
        StoreReply::Message(Ok(message())),
        StoreReply::Message(Err(ReadMessageRefusal::Access(AccessRefusal::NoRoom))),
        StoreReply::Message(Err(ReadMessageRefusal::NoMessage)),
        StoreReply::MessageEdited(Ok(message())),
        StoreReply::MessageEdited(Err(EditMessageRefusal::Access(AccessRefusal::NotMember))),
        StoreReply::MessageEdited(Err(EditMessageRefusal::NoMessage)),
        StoreReply::MessageEdited(Err(EditMessageRefusal::NotSender)),
        StoreReply::MessageEdited(Err(EditMessageRefusal::Deleted)),
        StoreReply::MessageDeleted(Ok(DeletedMessage { message: message(), outcome: DeleteOutcome::Deleted })),
        StoreReply::MessageDeleted(Ok(DeletedMessage { message: message(), outcome: DeleteOutcome::Before })),
        StoreReply::MessageDeleted(Err(DeleteMessageRefusal::Access(AccessRefusal::NoRoom))),
        StoreReply::MessageDeleted(Err(DeleteMessageRefusal::NoMessage)),
        StoreReply::MessageDeleted(Err(DeleteMessageRefusal::NotSender)),
        StoreReply::Acknowledged(Ok(Acknowledged { last_ack: Seq(u64::MAX), moved: true })),
        StoreReply::Acknowledged(Err(AcknowledgeRefusal::PastHead)),
        StoreReply::Acknowledged(Err(AcknowledgeRefusal::Access(AccessRefusal::NotMember))),
        StoreReply::Backlog(Backlog {
            has_notifications: true,
            rooms: vec![BacklogRoom { room_id: room_id(), last_ack: Seq(1), last_seq: Seq(2), members: u32::MAX }],
        }),
        StoreReply::Positions(vec![
            Ok(RoomPosition { last_ack: Seq(0), last_seq: Seq(u64::MAX) }),
            Err(AccessRefusal::NotMember),
        ]),
        StoreReply::Frames(vec![vec![(Seq(1), frame()), (Seq(2), frame())], Vec::new()]),
        StoreReply::Head(Some(Seq(u64::MAX))),
        StoreReply::Head(None),
        StoreReply::Notified(Ok(NOTIFICATION)),
        StoreReply::Notified(Err(NotifyRefusal::NoRoom)),
        StoreReply::Notified(Err(NotifyRefusal::NoTenant)),
        StoreReply::Expansions(vec![NOTIFICATION]),
        StoreReply::Expanded(None),
        StoreReply::Expanded(Some(Expansion {
            tenant: TENANT,
            frame: frame(),
            durable: false,
            users: vec![user()],
            has_more: true,
        })),
        StoreReply::Notifications(NotificationPage { notifications: vec![(NOTIFICATION, frame())], has_more: false }),
        StoreReply::Confirmed,
        StoreReply::Subscribed(Err(SubscribeRefusal::TooMany)),
        StoreReply::Subscribed(Err(SubscribeRefusal::NoTenant)),
        StoreReply::Subscriptions(vec![subscription()]),
        StoreReply::Unsubscribed { existed: true },
        StoreReply::Swept { has_more: false },
    ];
    replies.extend(
        [SecretOutcome::Kept, SecretOutcome::Given, SecretOutcome::Fresh]
            .map(|secret| StoreReply::TenantChanged(Some(ChangedTenant { tenant: tenant(), secret }))),
    );
    replies.extend([AddOutcome::Joined, AddOutcome::RoleChanged, AddOutcome::Unchanged].map(|outcome| {
        StoreReply::MemberAdded(Ok(AddedMember {
            member: Member { user_id: user(), role: Role::Member, joined_at: WALL },
            outcome,
            last_seq: Seq(u64::MAX),
            members: 2,
            successor: successor(),
        }))
    }));
    replies.extend(
        [SubscribeOutcome::New, SubscribeOutcome::Existing]
            .map(|outcome| StoreReply::Subscribed(Ok(Subscribed { subscription: subscription(), outcome }))),
    );
    replies
}

variants! {
    store_request of StoreRequest: Boot CheckWritable CreateTenant FindTenant ListTenants ReadTenant ChangeTenant
        RotateKey DeleteTenant CreateRoom ListRooms ReadRoom ChangeRoom DeleteRoom AddMember RemoveMember ListMembers
        ListReceipts AppendMessage ReadMessages ReadMessage RereadMessage EditMessage DeleteMessage Acknowledge LoadBacklog
        LoadPositions ReadFrames ReadHead Notify ListExpansions ExpandNotification ReadNotifications
        ConfirmNotifications Subscribe ListSubscriptions Unsubscribe Sweep;
    store_reply of StoreReply: Booted Written TenantCreated KeyOwner Tenants Tenant TenantChanged KeyRotated
        TenantDeleted RoomCreated Rooms Room RoomChanged RoomDeleted MemberAdded MemberRemoved Members Receipts Appended
        Messages Message MessageEdited MessageDeleted Acknowledged Backlog Positions Frames Head Notified Expansions
        Expanded Notifications Confirmed Subscribed Subscriptions Unsubscribed Swept;
}
