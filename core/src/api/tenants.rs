//! Tenants: creation.

use super::answer::{Success, TenantCreated};
use super::call::CreateTenant;
use super::serve::wrong_reply;
use crate::auth::overloaded;
use crate::core::Core;
use crate::effect::{Effect, Event};
use crate::id::RequestId;
use crate::operations::{Origin, Step};
use crate::secret::Secret;
use crate::store::{Lane, NewTenant, StoreReply, StoreRequest, StoreResult};

/// The secrets that the answer to a creation shows, and nothing else ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreatedSecrets {
    pub(crate) api_key: Secret,
    pub(crate) webhook_secret: Option<Secret>,
}

impl Core {
    pub(crate) fn create_tenant(&mut self, request: RequestId, tenant: CreateTenant) {
        if !self.operations.has_room(Lane::Write, None) {
            return self.respond(request, None, Err(overloaded()));
        }
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
        self.submit(
            None,
            Step::CreateTenant { request: Some(request), secrets },
            StoreRequest::CreateTenant(Box::new(new)),
        );
    }

    pub(crate) fn on_tenant_created(
        &mut self,
        request: Option<RequestId>,
        secrets: CreatedSecrets,
        result: StoreResult,
    ) {
        let CreatedSecrets { api_key, webhook_secret } = secrets;
        self.on_key_created(api_key.digest());
        let origin = request.map_or(Origin::Nobody, |request| Origin::Request { request, tenant: None });
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
}
