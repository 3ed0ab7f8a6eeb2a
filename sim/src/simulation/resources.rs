//! Requests on messages, rooms and subscriptions that there are.

use chatapi_core::MessageId;
use chatapi_core::model::Edit;
use serde_json::{Map, Value};

use super::asked::meta_of;
use super::requests::Asked;
use super::{Simulation, user_id};
use crate::action::{Change, OnMessage, OnRoom, OnTopic, Position, RoomPick, Who};
use crate::invariant::Checked;

impl Simulation {
    pub(super) fn ask_of_message(
        &mut self,
        who: Who,
        room: RoomPick,
        position: Position,
        on_message: OnMessage,
    ) -> Checked {
        let room_id = self.pick_room(who, room);
        let seq = self.position(&room_id, position);
        let message = self.model.message(&room_id, seq);
        let message_id =
            message.map_or_else(|| MessageId::new("msg_0000000000000000"), |message| message.message_id.clone());
        let target = format!("/rooms/{room_id}/messages/{message_id}");
        match on_message {
            OnMessage::Read => {
                let asked = Asked::ReadMessage { room_id, message_id, seq };
                self.ask_as(who, asked, ("GET", &target), None, b"")
            }
            OnMessage::Edit(text) => {
                let (content, _) = self.write(who, &room_id, text);
                let body = serde_json::json!({"content": content, "meta": meta_of(&content)}).to_string();
                let asked = Asked::EditMessage { room_id, message_id, seq, content };
                self.ask_as(who, asked, ("PATCH", &target), None, body.as_bytes())
            }
            OnMessage::Delete { by_tenant } => {
                let asked = Asked::DeleteMessage { room_id, message_id, seq, by_tenant };
                self.ask_for(who, by_tenant, asked, ("DELETE", &target), b"")
            }
        }
    }

    pub(super) fn ask_of_room(&mut self, who: Who, room: RoomPick, on_room: OnRoom) -> Checked {
        let room_id = self.pick_room(who, room);
        match on_room {
            OnRoom::Presence => {
                let target = format!("/rooms/{room_id}/presence");
                self.ask_as(who, Asked::ListPresence(room_id), ("GET", &target), None, b"")
            }
            OnRoom::Receipts => {
                let target = format!("/rooms/{room_id}/receipts");
                self.ask_as(who, Asked::ListReceipts(room_id), ("GET", &target), None, b"")
            }
            OnRoom::Change { name, metadata, by_tenant } => {
                let name = edit(name, |number| format!("<t{}> name {number}", who.tenant));
                let metadata = edit(metadata, |number| format!(r#" ["<t{}>",{number}]"#, who.tenant));
                let mut body = Map::new();
                name_edit(&mut body, "name", &name);
                name_edit(&mut body, "metadata", &metadata);
                let target = format!("/rooms/{room_id}");
                let asked = Asked::ChangeRoom { room_id, name, metadata, by_tenant };
                self.ask_for(who, by_tenant, asked, ("PATCH", &target), Value::Object(body).to_string().as_bytes())
            }
        }
    }

    pub(super) fn ask_of_topics(&mut self, who: Who, on_topic: OnTopic) -> Checked {
        match on_topic {
            OnTopic::Subscribe(number) => {
                let topic = format!("<t{}> topic {number}", who.tenant);
                let body = serde_json::json!({ "topic": topic }).to_string();
                self.ask_as(who, Asked::Subscribe { topic }, ("POST", "/subscriptions"), None, body.as_bytes())
            }
            OnTopic::List => self.ask_as(who, Asked::ListSubscriptions, ("GET", "/subscriptions"), None, b""),
            OnTopic::Unsubscribe(pick) => {
                let own: Vec<u64> = self.model.subscriptions_of(who.tenant, &user_id(who)).map(|(id, _)| id).collect();
                let after = self.model.subscriptions_ever(who.tenant) + 1;
                // One of the user's own, mostly.
                let id = match own.get(usize::from(pick) % own.len().max(1)) {
                    Some(own) if !pick.is_multiple_of(4) => *own,
                    Some(_) | None => 1 + u64::from(pick) % after,
                };
                let target = format!("/subscriptions/{id}");
                self.ask_as(who, Asked::Unsubscribe { id, is_own: own.contains(&id) }, ("DELETE", &target), None, b"")
            }
        }
    }
}

fn edit(change: Change, value: impl Fn(u8) -> String) -> Edit<String> {
    match change {
        Change::Keep => Edit::Keep,
        Change::Clear => Edit::Clear,
        Change::Set(number) => Edit::Set(value(number)),
    }
}

fn name_edit(body: &mut Map<String, Value>, key: &str, edit: &Edit<String>) {
    let value = match edit {
        Edit::Keep => return,
        Edit::Clear => Value::Null,
        Edit::Set(value) => value.as_str().into(),
    };
    body.insert(key.to_owned(), value);
}
