//! Steps on single messages, in `room_1` of the first tenant.

use chatapi_core::model::{Edit, Message};
use chatapi_core::store::{
    Actor, DeleteMessageRefusal, DeletedMessage, EditMessageRefusal, MessageEdit, ReadMessageRefusal, StoreReply,
    StoreRequest,
};
use chatapi_core::{MessageId, TenantKey, UnixMillis, UserId};

use super::{FIRST, Store, room_id};

/// When messages are edited and deleted.
pub(in crate::store_contract) const LATER: UnixMillis = UnixMillis(super::NOW.0 + 5_000);

pub(in crate::store_contract) fn read_message(
    store: Store<'_>,
    tenant: TenantKey,
    actor: &Actor,
    message_id: &str,
) -> Result<Message, ReadMessageRefusal> {
    let request = StoreRequest::ReadMessage {
        tenant,
        room_id: room_id("room_1"),
        message_id: MessageId::new(message_id),
        actor: actor.clone(),
    };
    answer!(store, request, Message)
}

pub(in crate::store_contract) fn new_text(user_id: &str, message_id: &str) -> MessageEdit {
    MessageEdit {
        tenant: FIRST,
        room_id: room_id("room_1"),
        message_id: MessageId::new(message_id),
        user_id: UserId::new(user_id),
        content: "Another text".to_owned(),
        meta: Edit::Keep,
        now: LATER,
    }
}

pub(in crate::store_contract) fn edit(store: Store<'_>, edit: MessageEdit) -> Result<Message, EditMessageRefusal> {
    answer!(store, StoreRequest::EditMessage(Box::new(edit)), MessageEdited)
}

pub(in crate::store_contract) fn delete(
    store: Store<'_>,
    actor: &Actor,
    message_id: &str,
) -> Result<DeletedMessage, DeleteMessageRefusal> {
    delete_at(store, FIRST, actor, message_id, LATER)
}

pub(in crate::store_contract) fn delete_at(
    store: Store<'_>,
    tenant: TenantKey,
    actor: &Actor,
    message_id: &str,
    now: UnixMillis,
) -> Result<DeletedMessage, DeleteMessageRefusal> {
    let request = StoreRequest::DeleteMessage {
        tenant,
        room_id: room_id("room_1"),
        message_id: MessageId::new(message_id),
        actor: actor.clone(),
        now,
    };
    answer!(store, request, MessageDeleted)
}
