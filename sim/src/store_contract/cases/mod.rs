//! The cases, each a promise of `chatapi_core::store`.

/// Names the cases of a file.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[Case] = &[$(Case { name: stringify!($name), run: $name }),*];
    };
}

mod appending;
mod deletion;
mod expansion;
mod history;
mod keys;
mod members;
mod messages;
mod notifications;
mod positions;
mod rooms;
mod subscriptions;
mod tenants;

use super::Case;

/// Every case, by what it is about.
pub const CASES: &[&[Case]] = &[
    tenants::CASES,
    keys::CASES,
    rooms::CASES,
    members::CASES,
    appending::CASES,
    history::CASES,
    messages::CASES,
    positions::CASES,
    notifications::CASES,
    expansion::CASES,
    subscriptions::CASES,
    deletion::CASES,
];

/// What the files of cases speak in.
mod prelude {
    pub(super) use chatapi_core::model::{Edit, Member, Message, Role, RoomType, Tenant, TenantConfig, UNREAD_WINDOW};
    pub(super) use chatapi_core::store::*;
    pub(super) use chatapi_core::ws::message_frame;
    pub(super) use chatapi_core::{
        Digest, IdStamp, NotificationId, NotificationKey, Secret, Seq, TenantKey, UnixMillis, UserId,
    };

    pub(super) use super::Case;
    pub(super) use crate::store_contract::steps::*;
}
