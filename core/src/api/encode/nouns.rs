//! The nouns of the product as they stand in bodies, to the letter of the protocol (sections 3 to 6).

use serde::Serialize;

use crate::id::{MessageId, RoomId, Seq, UserId};
use crate::model::{Member, Message, ReadPosition, Role, Room, RoomType, Subscription, TenantConfig};
use crate::ws::Stamp;

#[derive(Serialize)]
pub(super) struct ConfigBody<'a> {
    webhook_url: Option<&'a str>,
    rate_limit: Option<u32>,
    max_message_size: Option<u32>,
    retry_limit: Option<u32>,
    durable_notifications: Option<bool>,
}

impl<'a> ConfigBody<'a> {
    pub(super) fn of(config: &'a TenantConfig) -> Self {
        let TenantConfig { webhook_url, rate_limit, max_message_size, retry_limit, durable_notifications } = config;
        Self {
            webhook_url: webhook_url.as_deref(),
            rate_limit: *rate_limit,
            max_message_size: *max_message_size,
            retry_limit: *retry_limit,
            durable_notifications: *durable_notifications,
        }
    }
}

/// A room, in bodies and in frames.
#[derive(Serialize)]
pub(crate) struct RoomBody<'a> {
    room_id: &'a RoomId,
    r#type: RoomType,
    unique_key: Option<&'a str>,
    name: Option<&'a str>,
    metadata: Option<&'a str>,
    last_seq: Seq,
    created_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ack: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_count: Option<u32>,
}

impl<'a> RoomBody<'a> {
    pub(crate) fn of(room: &'a Room, position: Option<ReadPosition>) -> Self {
        Self {
            room_id: &room.room_id,
            r#type: room.kind,
            unique_key: room.unique_key.as_deref(),
            name: room.name.as_deref(),
            metadata: room.metadata.as_deref(),
            last_seq: room.last_seq,
            created_at: Stamp(room.created_at),
            last_ack: position.map(|position| position.last_ack),
            unread_count: position.map(|position| position.unread_count),
        }
    }
}

#[derive(Serialize)]
pub(super) struct MemberBody<'a> {
    user_id: &'a UserId,
    role: Role,
    joined_at: Stamp,
}

impl<'a> MemberBody<'a> {
    pub(super) fn of(member: &'a Member) -> Self {
        Self { user_id: &member.user_id, role: member.role, joined_at: Stamp(member.joined_at) }
    }
}

#[derive(Serialize)]
pub(super) struct MessageBody<'a> {
    message_id: &'a MessageId,
    room_id: &'a RoomId,
    sender_id: &'a UserId,
    seq: Seq,
    content: &'a str,
    meta: Option<&'a str>,
    created_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Stamp>,
}

impl<'a> MessageBody<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        Self {
            message_id: &message.message_id,
            room_id: &message.room_id,
            sender_id: &message.sender_id,
            seq: message.seq,
            content: &message.content,
            meta: message.meta.as_deref(),
            created_at: Stamp(message.created_at),
            edited_at: message.edited_at.map(Stamp),
            deleted_at: message.deleted_at.map(Stamp),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SubscriptionBody<'a> {
    id: u64,
    subscriber_id: &'a UserId,
    topic: &'a str,
    created_at: Stamp,
}

impl<'a> SubscriptionBody<'a> {
    pub(super) fn of(subscription: &'a Subscription) -> Self {
        Self {
            id: subscription.id,
            subscriber_id: &subscription.subscriber_id,
            topic: &subscription.topic,
            created_at: Stamp(subscription.created_at),
        }
    }
}
