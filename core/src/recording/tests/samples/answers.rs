//! What callers are told.

use super::{
    API_KEY, TOKEN, WALL, WEBHOOK_SECRET, config, listed_rooms, member_page, message, message_page, room, room_id,
    secret, subscription, tenant, tenant_page, user, variants,
};
use crate::api::{Health, PresenceStatus, Success, TenantCreated, TenantShown};
use crate::id::{NotificationId, Seq, TenantId};
use crate::metrics::{Histogram, MetricsSnapshot, ProcessGauges};
use crate::model::{Member, Role};
use crate::store::{Receipt, ReceiptPage};
use crate::time::Micros;

pub(in crate::recording::tests) fn successes() -> Vec<Success> {
    let member = || Member { user_id: user(), role: Role::Admin, joined_at: WALL };
    vec![
        Success::Health(Health { db_writable: true, uptime: Micros(u64::MAX) }),
        Success::Alive,
        Success::Ready,
        Success::Metrics(Box::new(metrics())),
        Success::TenantCreated(Box::new(TenantCreated {
            tenant_id: TenantId::new("tenant_1"),
            name: "n".to_owned(),
            api_key: secret(API_KEY),
            config: config(),
            webhook_secret: Some(secret(WEBHOOK_SECRET)),
            created_at: WALL,
        })),
        Success::Tenants(tenant_page()),
        Success::Tenant(Box::new(TenantShown { tenant: tenant(), webhook_secret: None })),
        Success::Tenant(Box::new(TenantShown { tenant: tenant(), webhook_secret: Some(secret(WEBHOOK_SECRET)) })),
        Success::KeyRotated { tenant_id: TenantId::new("tenant_1"), api_key: secret(API_KEY) },
        Success::Done,
        Success::Rooms { rooms: listed_rooms(), has_more: false },
        Success::RoomCreated(Box::new(room())),
        Success::Room(Box::new(room())),
        Success::Members(member_page()),
        Success::MemberAdded(member()),
        Success::Member(member()),
        Success::Presence {
            members: vec![(user(), PresenceStatus::Online), (user(), PresenceStatus::Offline)],
            has_more: true,
        },
        Success::Receipts(receipts()),
        Success::Message(Box::new(message())),
        Success::Messages(message_page()),
        Success::Acknowledged { room_id: room_id(), last_ack: Seq(4) },
        Success::Notified { notification_id: NotificationId::new("notif_1"), created_at: WALL },
        Success::SubscriptionCreated(subscription()),
        Success::Subscription(subscription()),
        Success::Subscriptions(vec![subscription()]),
        Success::Token(secret(TOKEN)),
    ]
}

pub(super) fn receipts() -> ReceiptPage {
    ReceiptPage { receipts: vec![Receipt { user_id: user(), last_ack: Seq(u64::MAX) }], has_more: true }
}

variants! {
    success of Success: Health Alive Ready Metrics TenantCreated Tenants Tenant KeyRotated Done Rooms RoomCreated Room
        Members MemberAdded Member Presence Receipts Message Messages Acknowledged Notified SubscriptionCreated
        Subscription Subscriptions Token;
}

fn metrics() -> MetricsSnapshot {
    let mut rest_latency = Histogram::default();
    rest_latency.observe(Micros(u64::MAX));
    let process = ProcessGauges { wal_bytes: u64::MAX, ..ProcessGauges::default() };
    MetricsSnapshot { messages_sent: u64::MAX, rest_latency, process, ..MetricsSnapshot::default() }
}
