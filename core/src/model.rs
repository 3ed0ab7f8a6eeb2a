//! The nouns of the product: tenants, rooms, members, messages.

use serde::{Deserialize, Serialize};

use crate::id::{MessageId, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::time::UnixMillis;

/// A tenant as the core knows it: without any secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its key inside the store.
    pub key: TenantKey,
    /// Its id on the wire.
    pub tenant_id: TenantId,
    /// 1 to 200 characters.
    pub name: String,
    /// Its settings.
    pub config: TenantConfig,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// A tenant's settings (protocol, section 3); `None` is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantConfig {
    /// Where webhooks go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// Tokens a second, 1 to 1,000,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u32>,
    /// Longest `content` in bytes, 1 to 262,144.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<u32>,
    /// Attempts of a webhook in all, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_limit: Option<u32>,
    /// Whether notifications wait for those who are offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durable_notifications: Option<bool>,
}

/// A change of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Edit<T> {
    /// It was not named: it stays.
    #[default]
    Keep,
    /// `null`: it is empty, or its default, from then on.
    Clear,
    /// It has this value from then on.
    Set(T),
}

impl<T> Edit<T> {
    /// What a field that held `present` holds afterwards.
    pub fn apply(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// The kinds of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomType {
    /// Exactly two members, one room for each pair.
    Dm,
    /// By invitation.
    Group,
    /// Anyone of the tenant may join.
    Channel,
}

impl RoomType {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Dm, Self::Group, Self::Channel];

    /// As the wire and the store spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dm => "dm",
            Self::Group => "group",
            Self::Channel => "channel",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a member may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Changes the room and its members.
    Admin,
    /// Reads and writes.
    Member,
}

impl Role {
    /// As the wire and the store spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::Member].into_iter().find(|role| role.as_str() == text)
    }
}

/// A room (protocol, section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its id on the wire.
    pub room_id: RoomId,
    /// Its kind.
    pub kind: RoomType,
    /// `dm:A:B` of a dm, see [`dm_unique_key`].
    pub unique_key: Option<String>,
    /// At most 200 characters.
    pub name: Option<String>,
    /// JSON text, kept byte for byte.
    pub metadata: Option<String>,
    /// The number of its newest message.
    pub last_seq: Seq,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// A room in a user's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRoom {
    /// The room.
    pub room: Room,
    /// Where the user stands in it; `None` where the tenant itself asks.
    pub position: Option<ReadPosition>,
}

/// How far a user has read in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPosition {
    /// The newest message the user acknowledged.
    pub last_ack: Seq,
    /// Messages of others, not deleted, among the first [`UNREAD_WINDOW`] past `last_ack`.
    pub unread_count: u32,
}

/// How many messages past `last_ack` are looked at to count the unread ones.
pub const UNREAD_WINDOW: u32 = 1_000;

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub user_id: UserId,
    /// What the user may do.
    pub role: Role,
    /// Since when.
    pub joined_at: UnixMillis,
}

/// A user's interest in a topic (protocol, section 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id, counted within the tenant.
    pub id: u64,
    /// Whose.
    pub subscriber_id: UserId,
    /// 1 to 200 characters.
    pub topic: String,
    /// When it was stored.
    pub created_at: UnixMillis,
}

/// A message (protocol, section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id on the wire.
    pub message_id: MessageId,
    /// Its room.
    pub room_id: RoomId,
    /// Who sent it.
    pub sender_id: UserId,
    /// Its number in the room.
    pub seq: Seq,
    /// Any Unicode; empty once deleted.
    pub content: String,
    /// JSON text, kept byte for byte.
    pub meta: Option<String>,
    /// When it was stored.
    pub created_at: UnixMillis,
    /// When its sender last changed it.
    pub edited_at: Option<UnixMillis>,
    /// When it was deleted.
    pub deleted_at: Option<UnixMillis>,
}

impl Message {
    /// How many bytes `content` and `meta` take inside JSON, where a control character takes up to six. What is sent
    /// and what waits is bounded by this, whatever a sender writes.
    #[must_use]
    pub fn size_on_wire_bytes(&self) -> usize {
        escaped_len(&self.content) + self.meta.as_deref().map_or(0, escaped_len)
    }
}

fn escaped_len(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + escapes.sum::<usize>()
}

/// The key that makes a dm of two users unique in its tenant: `dm:A:B`, the users sorted by their bytes, `%` and `:`
/// inside an id percent-encoded (protocol, section 4).
#[must_use]
pub fn dm_unique_key(one: &UserId, other: &UserId) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    let escape = |id: &UserId| id.as_str().replace('%', "%25").replace(':', "%3A");
    format!("dm:{}:{}", escape(first), escape(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_text_on_the_wire_is_what_json_makes_of_it() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\u{0}", &all] {
            assert_eq!(escaped_len(text), serde_json::to_string(text).unwrap().len() - 2, "{text:?}");
        }
    }

    #[test]
    fn the_key_of_a_dm_is_the_same_from_both_sides_and_unambiguous() {
        let key = |a: &str, b: &str| dm_unique_key(&UserId::new(a), &UserId::new(b));
        assert_eq!(key("bob", "alice"), "dm:alice:bob");
        assert_eq!(key("alice", "bob"), "dm:alice:bob");
        assert_eq!(key("a:b", "c"), "dm:a%3Ab:c");
        assert_eq!(key("a%3Ab", "c"), "dm:a%253Ab:c");
        assert_ne!(key("a:b", "c"), key("a", "b:c"));
    }
}
