//! Tenants: what the operator does with them.

use super::answer::{Success, TenantCreated, TenantShown};
use super::call::{AdminCall, CreateTenant, RotateKey};
use super::error::{ApiError, ErrorCode};
use super::serve::wrong_reply;
use crate::auth::overloaded;
use crate::core::Core;
use crate::effect::{CloseReason, Effect, Event};
use crate::id::{RequestId, TenantId, TenantKey};
use crate::model::{Edit, Tenant};
use crate::operations::{Origin, Sockets, Step};
use crate::secret::Secret;
use crate::store::{
    ChangedTenant, KeyRotation, NewTenant, SecretOutcome, StoreFailure, StoreReply, StoreRequest, StoreResult,
    TenantChange, TenantPage,
};
use crate::time::UnixMillis;

/// The secrets that the answer to a creation shows, and nothing else ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreatedSecrets {
    pub(crate) api_key: Secret,
    pub(crate) webhook_secret: Option<Secret>,
}

impl Core {
    pub(crate) fn administer(&mut self, request: RequestId, call: AdminCall) {
        let origin = Origin::Request { request, tenant: None };
        match call {
            AdminCall::CreateTenant(tenant) => self.create_tenant(request, *tenant),
            AdminCall::ListTenants { after, limit } => {
                let asked = StoreRequest::ListTenants { after, limit };
                self.submit_for_operator(request, asked, Step::Read { origin });
            }
            AdminCall::ReadTenant { tenant_id } => {
                self.submit_for_operator(request, StoreRequest::ReadTenant { tenant_id }, Step::Read { origin });
            }
            AdminCall::ChangeTenant(change) => self.change_tenant(request, change),
            AdminCall::RotateKey(rotation) => self.rotate_key(request, *rotation),
            AdminCall::DeleteTenant { tenant_id } => {
                let asked = StoreRequest::DeleteTenant { tenant_id: tenant_id.clone(), now: self.now.wall };
                self.submit_for_operator(request, asked, Step::DeleteTenant { request: Some(request), tenant_id });
            }
        }
    }

    /// Hands a step to the store for the operator, if its lane takes one more.
    fn submit_for_operator(&mut self, request: RequestId, asked: StoreRequest, step: Step) {
        if self.operations.has_room(asked.lane(), None) {
            self.submit(None, step, asked);
        } else {
            self.respond(request, None, Err(overloaded()));
        }
    }

    fn create_tenant(&mut self, request: RequestId, tenant: CreateTenant) {
        let CreateTenant { name, config, webhook_secret, api_key } = tenant;
        let new = NewTenant {
            tenant_id: self.ids.tenant(self.now.wall),
            name,
            api_key: api_key.digest(),
            config,
            webhook_secret: webhook_secret.clone(),
            created_at: self.now.wall,
        };
        let secrets = CreatedSecrets { api_key, webhook_secret };
        let step = Step::CreateTenant { request: Some(request), secrets };
        self.submit_for_operator(request, StoreRequest::CreateTenant(Box::new(new)), step);
    }

    pub(crate) fn on_tenant_created(
        &mut self,
        request: Option<RequestId>,
        secrets: CreatedSecrets,
        result: StoreResult,
    ) {
        let CreatedSecrets { api_key, webhook_secret } = secrets;
        self.on_key_created(api_key.digest());
        let origin = origin_of(request);
        let tenant = match result {
            Ok(StoreReply::TenantCreated(tenant)) => tenant,
            Ok(_) => return self.answer(origin, Err(wrong_reply())),
            Err(failure) => return self.refuse(origin, failure),
        };
        self.emit(Effect::Report(Event::TenantCreated { tenant_id: tenant.tenant_id.clone() }));
        let created = TenantCreated {
            tenant_id: tenant.tenant_id,
            name: tenant.name,
            api_key,
            config: self.config.effective(&tenant.config),
            webhook_secret,
            created_at: tenant.created_at,
        };
        self.answer(origin, Ok(Success::TenantCreated(Box::new(created))));
    }

    fn change_tenant(&mut self, request: RequestId, change: Box<TenantChange>) {
        let given_secret = match &change.config.webhook_secret {
            Edit::Set(secret) => Some(secret.clone()),
            Edit::Keep | Edit::Clear => None,
        };
        let (tenant_id, fresh_secret) = (change.tenant_id.clone(), change.fresh_secret.clone());
        let step = Step::ChangeTenant { request: Some(request), tenant_id, given_secret, fresh_secret };
        self.submit_for_operator(request, StoreRequest::ChangeTenant(change), step);
    }

    pub(crate) fn on_tenant_changed(
        &mut self,
        request: Option<RequestId>,
        tenant_id: TenantId,
        given_secret: Option<Secret>,
        fresh_secret: Secret,
        result: StoreResult,
    ) {
        let origin = origin_of(request);
        let ChangedTenant { tenant, secret } = match result {
            Ok(StoreReply::TenantChanged(Some(changed))) => changed,
            Ok(StoreReply::TenantChanged(None)) => return self.answer(origin, Err(no_tenant())),
            Ok(_) => return self.answer(origin, Err(wrong_reply())),
            Err(failure) => {
                self.doubt_tenant(tenant_id, failure);
                return self.refuse(origin, failure);
            }
        };
        self.tenants.refresh(&tenant, &self.config, self.now.mono);
        let shown = match secret {
            SecretOutcome::Kept => None,
            SecretOutcome::Given => given_secret,
            SecretOutcome::Fresh => Some(fresh_secret),
        };
        let answer = self.show_tenant(Some(tenant), shown);
        self.answer(origin, answer);
    }

    fn rotate_key(&mut self, request: RequestId, rotation: RotateKey) {
        let RotateKey { tenant_id, api_key, grace_seconds, close_sockets } = rotation;
        let now = self.now.wall;
        let asked = StoreRequest::RotateKey(KeyRotation {
            tenant_id: tenant_id.clone(),
            api_key: api_key.digest(),
            retired_until: UnixMillis(now.0 + i64::from(grace_seconds) * 1_000),
            now,
        });
        let sockets = if close_sockets { Sockets::Close } else { Sockets::Stay };
        self.submit_for_operator(
            request,
            asked,
            Step::RotateKey { request: Some(request), tenant_id, api_key, sockets },
        );
    }

    pub(crate) fn on_key_rotated(
        &mut self,
        request: Option<RequestId>,
        tenant_id: TenantId,
        api_key: Secret,
        sockets: Sockets,
        result: StoreResult,
    ) {
        let origin = origin_of(request);
        self.on_key_created(api_key.digest());
        let tenant = match result {
            Ok(StoreReply::KeyRotated(Some(tenant))) => tenant,
            Ok(StoreReply::KeyRotated(None)) => return self.answer(origin, Err(no_tenant())),
            Ok(_) => return self.answer(origin, Err(wrong_reply())),
            Err(failure) => {
                if failure == StoreFailure::OutcomeUnknown
                    && let Some(tenant) = self.tenants.find(&tenant_id)
                {
                    self.forget_credentials(tenant);
                }
                return self.refuse(origin, failure);
            }
        };
        self.forget_credentials(tenant);
        match sockets {
            Sockets::Stay => {}
            Sockets::Close => self.close_tenant(tenant, CloseReason::KeyRotated),
        }
        self.answer(origin, Ok(Success::KeyRotated { tenant_id, api_key }));
    }

    pub(crate) fn on_tenant_deleted(&mut self, request: Option<RequestId>, tenant_id: TenantId, result: StoreResult) {
        let origin = origin_of(request);
        let answer = match result {
            Ok(StoreReply::TenantDeleted(Some(tenant))) => {
                self.on_tenant_gone(tenant);
                self.emit(Effect::Report(Event::TenantDeleted { tenant_id }));
                Ok(Success::Done)
            }
            Ok(StoreReply::TenantDeleted(None)) => Err(no_tenant()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => {
                self.doubt_tenant(tenant_id, failure);
                return self.refuse(origin, failure);
            }
        };
        self.answer(origin, answer);
    }

    /// What was believed of a tenant is stored, or not: it is read again.
    fn doubt_tenant(&mut self, tenant_id: TenantId, failure: StoreFailure) {
        if failure == StoreFailure::OutcomeUnknown {
            self.recover_tenant(tenant_id);
        }
    }

    /// Ends what a tenant has here; its data goes in small steps.
    pub(crate) fn on_tenant_gone(&mut self, tenant: TenantKey) {
        self.forget_credentials(tenant);
        self.close_tenant(tenant, CloseReason::TenantDeleted);
        self.sweep_now();
    }

    fn close_tenant(&mut self, tenant: TenantKey, reason: CloseReason) {
        for conn in self.sessions.conns_of_tenant(tenant) {
            self.close(conn, reason);
        }
    }

    pub(crate) fn show_tenants(&self, page: TenantPage) -> TenantPage {
        let TenantPage { tenants, has_more } = page;
        TenantPage { tenants: tenants.into_iter().map(|tenant| self.with_defaults(tenant)).collect(), has_more }
    }

    pub(crate) fn show_tenant(
        &self,
        tenant: Option<Tenant>,
        webhook_secret: Option<Secret>,
    ) -> Result<Success, ApiError> {
        let tenant = self.with_defaults(tenant.ok_or_else(no_tenant)?);
        Ok(Success::Tenant(Box::new(TenantShown { tenant, webhook_secret })))
    }

    fn with_defaults(&self, tenant: Tenant) -> Tenant {
        Tenant { config: self.config.effective(&tenant.config), ..tenant }
    }
}

fn origin_of(request: Option<RequestId>) -> Origin {
    request.map_or(Origin::Nobody, |request| Origin::Request { request, tenant: None })
}

fn no_tenant() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is no such tenant")
}
