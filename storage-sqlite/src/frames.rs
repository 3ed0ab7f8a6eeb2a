//! Until the core makes them.

use chatapi_core::ws::Frame;
use chatapi_core::{NotificationId, UnixMillis};

pub(crate) fn notification_frame(id: &NotificationId, topic: &str, payload: &str, created_at: UnixMillis) -> Frame {
    let text = serde_json::json!({
        "type": "notification",
        "notification_id": id,
        "topic": topic,
        "payload": payload,
        "timestamp": created_at.0.div_euclid(1_000),
    });
    serde_json::from_value(serde_json::Value::String(text.to_string())).unwrap_or_else(|_| unreachable!())
}
