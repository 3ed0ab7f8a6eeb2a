//! To be written.
use super::answer::Success;
use super::call::{AdminCall, ChangeRoom, EditMessage, Notify};
use super::error::{ApiError, ErrorCode};
use crate::core::Core;
use crate::id::{MessageId, RequestId, RoomId, TenantKey, UserId};
use crate::model::{Role, Tenant};
use crate::operations::Origin;
use crate::secret::Secret;
use crate::store::{Actor, ReadMessageRefusal, SubscribeRefusal, Subscribed, TenantPage};

fn todo() -> ApiError {
    ApiError::new(ErrorCode::Internal, "not written")
}

impl Core {
    pub(crate) fn change_room(&mut self, origin: Origin, _: TenantKey, _: Actor, _: ChangeRoom) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn delete_room(&mut self, origin: Origin, _: TenantKey, _: Actor, _: RoomId) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn add_member(&mut self, origin: Origin, _: TenantKey, _: Actor, _: RoomId, _: UserId, _: Option<Role>) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn remove_member(&mut self, origin: Origin, _: TenantKey, _: Actor, _: RoomId, _: UserId) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn delete_message(&mut self, origin: Origin, _: TenantKey, _: Actor, _: RoomId, _: MessageId) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn edit_message(&mut self, origin: Origin, _: TenantKey, _: UserId, _: EditMessage) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn notify(&mut self, origin: Origin, _: TenantKey, _: Notify) {
        self.answer(origin, Err(todo()));
    }
    pub(crate) fn show_tenants(&self, page: TenantPage) -> TenantPage {
        page
    }
    pub(crate) fn show_tenant(&self, _: Option<Tenant>, _: Option<Secret>) -> Result<Success, ApiError> {
        Err(todo())
    }
    pub(crate) fn administer(&mut self, request: RequestId, call: AdminCall) {
        match call {
            AdminCall::CreateTenant(tenant) => self.create_tenant(request, *tenant),
            AdminCall::ListTenants { .. }
            | AdminCall::ReadTenant { .. }
            | AdminCall::ChangeTenant(_)
            | AdminCall::RotateKey(_)
            | AdminCall::DeleteTenant { .. } => self.respond(request, None, Err(todo())),
        }
    }
}

pub(crate) fn no_subscription() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "the user has no such subscription")
}

impl From<ReadMessageRefusal> for ApiError {
    fn from(_: ReadMessageRefusal) -> Self {
        todo()
    }
}
impl From<SubscribeRefusal> for ApiError {
    fn from(_: SubscribeRefusal) -> Self {
        todo()
    }
}
impl From<Subscribed> for Success {
    fn from(subscribed: Subscribed) -> Self {
        Self::Subscription(subscribed.subscription)
    }
}
