//! Saboteurs of what connections are told beside messages: presence, typing, the end of a sync, notifications.

use chatapi_core::ws::{Command, Frame};
use chatapi_core::{ConnId, Effect, Input, NotificationKey, RoomId, Seq};
use serde::Deserialize;

use super::{Sabotage, Saboteur, is_message_effect};

impl Saboteur {
    /// What a client asked to be sent again.
    pub(super) fn on_sync_frame(&mut self, input: &mut Input) {
        if let Input::Frame { frame, .. } = input
            && let Ok(Command::Subscribe { after: Some(Seq(after)), .. }) = &mut frame.command
            && self.strikes(3)
        {
            *after += 1;
        }
    }

    pub(super) fn on_confirm(&mut self, notifications: &mut Vec<NotificationKey>) {
        if let Some(NotificationKey(last)) = notifications.last().copied()
            && self.strikes(5)
        {
            notifications.push(NotificationKey(last + 1));
        }
    }

    /// Tells once more that a user is online, or that the user is no longer.
    pub(super) fn tell_presence_again(&mut self, effects: &mut Vec<Effect>) {
        let online = effects.iter().find(|effect| is_of(effect, "presence.update", r#""status":"online""#));
        let Some(Effect::Send { conns, frame }) = online.cloned() else {
            return;
        };
        if !self.strikes(5) {
            return;
        }
        let text = String::from_utf8_lossy(frame.as_bytes()).into_owned();
        let text = if self.kind == Sabotage::EarlyOffline { text.replace("online", "offline") } else { text };
        let frame = serde_json::from_value(text.into()).unwrap_or(frame);
        effects.push(Effect::Send { conns, frame });
    }

    /// Drops some frames of that type with that text in them.
    pub(super) fn drop_frames(&mut self, effects: &mut Vec<Effect>, kind: &str, text: &str) {
        effects.retain(|effect| !(is_of(effect, kind, text) && self.strikes(5)));
    }

    pub(super) fn end_sync_early(&mut self, effects: &mut Vec<Effect>) {
        let end = effects.iter().position(|effect| is_of(effect, "sync.complete", r#""last_seq""#));
        let message = effects.iter().position(is_message_effect);
        if let (Some(end), Some(message)) = (end, message)
            && message < end
            && self.strikes(3)
        {
            let end = effects.remove(end);
            effects.insert(message, end);
        }
    }

    pub(super) fn notify_others(&mut self, effects: &mut [Effect], fellow: impl Fn(&[ConnId]) -> Option<ConnId>) {
        for effect in effects.iter_mut().filter(|effect| is_of(effect, "notification", "")) {
            if let Effect::Send { conns, .. } = effect
                && self.strikes(2)
                && let Some(other) = fellow(conns)
            {
                conns.push(other);
            }
        }
    }
}

pub(super) fn tell_strangers_of_typing(effects: &mut [Effect], strangers: impl Fn(ConnId, &RoomId) -> Option<ConnId>) {
    for effect in effects.iter_mut().filter(|effect| is_of(effect, "typing", "")) {
        if let Effect::Send { conns, frame } = effect
            && let Some(room_id) = room_of(frame)
            && let Some(stranger) = conns.first().and_then(|conn| strangers(*conn, &room_id))
        {
            conns.push(stranger);
        }
    }
}

/// Whether an effect sends a frame of that type with that text in it.
fn is_of(effect: &Effect, kind: &str, text: &str) -> bool {
    let Effect::Send { frame, .. } = effect else {
        return false;
    };
    let bytes = frame.as_bytes();
    bytes.starts_with(format!(r#"{{"type":"{kind}","#).as_bytes())
        && memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

fn room_of(frame: &Frame) -> Option<RoomId> {
    #[derive(Deserialize)]
    struct Body {
        room_id: String,
    }
    serde_json::from_slice(frame.as_bytes()).ok().map(|body: Body| RoomId::new(&body.room_id))
}
