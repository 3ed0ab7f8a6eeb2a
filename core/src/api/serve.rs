//! REST requests on their way through the core: who may call, then what is to be done.

use super::answer::{Answer, Success};
use super::call::{Access, ApiRequest, Call, MembersQuery, PublicCall, TenantCall, UserCall, UserHeader};
use super::error::{ApiError, ErrorCode};
use crate::auth::{Bucket, Waiter, overloaded, unknown_key};
use crate::core::{Core, Phase};
use crate::effect::Effect;
use crate::id::{RequestId, RoomId, Seq, TenantKey, UserId};
use crate::notifications::no_subscription;
use crate::operations::{Origin, Step};
use crate::secret::Secret;
use crate::store::{AccessRefusal, AcknowledgeRefusal, Actor, PageBounds, StoreReply, StoreRequest, StoreResult};

/// Longest page of history, in bytes of content (protocol, section 5).
const HISTORY_PAGE_BYTES: u32 = 1024 * 1024;

impl Core {
    pub(crate) fn on_request(&mut self, request: RequestId, body: Box<ApiRequest>) {
        match body.access {
            Access::Public => self.serve_public(request, body.call),
            Access::Metrics => {
                if self.config.metrics_need_token && !body.credentials.is_metrics_reader {
                    let message = "METRICS_TOKEN is missing or wrong: send it as Authorization: Bearer";
                    self.respond(request, None, Err(ApiError::new(ErrorCode::Authentication, message)));
                } else {
                    self.serve_public(request, body.call);
                }
            }
            Access::Master | Access::User | Access::UserToConnect | Access::UserOrTenant
                if self.phase != Phase::Serving =>
            {
                self.respond(request, None, Err(self.not_serving()));
            }
            Access::Master => {
                if body.credentials.is_master {
                    self.serve_master(request, body.call);
                } else {
                    let error = ApiError::new(ErrorCode::Authentication, "X-Master-Key is missing or wrong");
                    self.respond(request, None, Err(error));
                }
            }
            Access::User | Access::UserToConnect | Access::UserOrTenant => match body.credentials.api_key {
                Some(api_key) => self.identify(api_key, Waiter::Request { request, body }),
                None => self.respond(request, None, Err(unknown_key())),
            },
        }
    }

    /// Why nothing is served: the run has not begun, or it ends.
    pub(crate) fn not_serving(&self) -> ApiError {
        match self.phase {
            Phase::Starting => ApiError::unavailable("the server is starting: try again", 1_000),
            Phase::Serving | Phase::Draining { .. } | Phase::Stopped => {
                ApiError::unavailable("the server is shutting down: try again", 5_000)
            }
        }
    }

    pub(crate) fn respond(&mut self, request: RequestId, tenant: Option<TenantKey>, result: Result<Success, ApiError>) {
        self.respond_with_limit(request, tenant, Bucket::Requests, result);
    }

    pub(crate) fn respond_with_limit(
        &mut self,
        request: RequestId,
        tenant: Option<TenantKey>,
        bucket: Bucket,
        result: Result<Success, ApiError>,
    ) {
        self.counters.requests_answered += 1;
        if let Some(arrival) = self.arrivals.remove(&request) {
            self.counters.rest_latency.observe(self.now.mono - arrival);
        }
        let rate_limit = tenant.and_then(|tenant| self.tenants.rate_limit(tenant, bucket, self.now.mono));
        self.emit(Effect::Respond { request, answer: Box::new(Answer { rate_limit, result }) });
    }

    fn serve_public(&mut self, request: RequestId, call: Result<Call, ApiError>) {
        let result = match call {
            Ok(Call::Public(PublicCall::Health)) => return self.check_health(request),
            Ok(Call::Public(PublicCall::Livez)) => Ok(Success::Alive),
            Ok(Call::Public(PublicCall::Readyz)) => match self.phase {
                Phase::Serving => Ok(Success::Ready),
                Phase::Starting | Phase::Draining { .. } | Phase::Stopped => Err(self.not_serving()),
            },
            Ok(Call::Public(PublicCall::Metrics)) => Ok(Success::Metrics(Box::new(self.metrics()))),
            Ok(Call::Admin(_) | Call::Tenant(_) | Call::User(_)) => Err(misrouted()),
            Err(error) => Err(error),
        };
        self.respond(request, None, result);
    }

    fn serve_master(&mut self, request: RequestId, call: Result<Call, ApiError>) {
        match call {
            Ok(Call::Admin(call)) => self.administer(request, call),
            Ok(Call::Public(_) | Call::Tenant(_) | Call::User(_)) => self.respond(request, None, Err(misrouted())),
            Err(error) => self.respond(request, None, Err(error)),
        }
    }

    /// Serves a request whose key names `tenant`. The order of refusals is the protocol's (section 1).
    pub(crate) fn serve_tenant(&mut self, request: RequestId, tenant: TenantKey, body: ApiRequest) {
        let ApiRequest { access, credentials, call } = body;
        let (bucket, needs_user) = match access {
            Access::User => (Bucket::Requests, true),
            Access::UserToConnect => (Bucket::Connects, true),
            Access::Public | Access::Metrics | Access::Master | Access::UserOrTenant => (Bucket::Requests, false),
        };
        if self.phase != Phase::Serving {
            let error = self.not_serving();
            return self.respond_with_limit(request, Some(tenant), bucket, Err(error));
        }
        let charged = self.tenants.charge(tenant, bucket, self.now.mono);
        if needs_user && credentials.user == UserHeader::Absent {
            let error = ApiError::new(ErrorCode::Authentication, "X-User-Id is missing: this route acts for a user");
            return self.respond_with_limit(request, Some(tenant), bucket, Err(error));
        }
        if let Err(retry_after_ms) = charged {
            let error = ApiError::rate_limited(retry_after_ms);
            return self.respond_with_limit(request, Some(tenant), bucket, Err(error));
        }
        let caller = match credentials.user {
            UserHeader::Absent => Actor::Tenant,
            UserHeader::User(user) => Actor::User(user),
            UserHeader::Invalid => {
                return self.respond_with_limit(request, Some(tenant), bucket, Err(invalid_user()));
            }
        };
        match (call, caller) {
            (Ok(Call::Tenant(call)), actor) => self.act(request, tenant, actor, call),
            (Ok(Call::User(call)), Actor::User(user)) => self.act_for_user(request, tenant, user, call),
            (Ok(Call::User(_)), Actor::Tenant) | (Ok(Call::Public(_) | Call::Admin(_)), _) => {
                self.respond_with_limit(request, Some(tenant), bucket, Err(misrouted()));
            }
            (Err(error), _) => self.respond_with_limit(request, Some(tenant), bucket, Err(error)),
        }
    }

    fn act(&mut self, request: RequestId, tenant: TenantKey, actor: Actor, call: TenantCall) {
        let origin = Origin::Request { request, tenant: Some(tenant) };
        match call {
            TenantCall::ListRooms { after, limit } => {
                self.read(origin, tenant, StoreRequest::ListRooms { tenant, actor, after, limit });
            }
            TenantCall::CreateRoom(room) => self.create_room(origin, tenant, actor, *room),
            TenantCall::ReadRoom { room_id } => {
                self.read(origin, tenant, StoreRequest::ReadRoom { tenant, room_id, actor });
            }
            TenantCall::ChangeRoom(change) => self.change_room(origin, tenant, actor, *change),
            TenantCall::DeleteRoom { room_id } => self.delete_room(origin, tenant, actor, room_id),
            TenantCall::ListMembers(MembersQuery { room_id, after, limit }) => {
                self.read(origin, tenant, StoreRequest::ListMembers { tenant, room_id, actor, after, limit });
            }
            TenantCall::ListPresence(MembersQuery { room_id, after, limit }) => {
                let request = StoreRequest::ListMembers { tenant, room_id, actor, after, limit };
                self.submit_for(tenant, origin, request, |origin| Step::ListPresence { origin });
            }
            TenantCall::ListReceipts(MembersQuery { room_id, after, limit }) => {
                self.read(origin, tenant, StoreRequest::ListReceipts { tenant, room_id, actor, after, limit });
            }
            TenantCall::AddMember { room_id, user_id, role } => {
                self.add_member(origin, tenant, actor, room_id, user_id, role);
            }
            TenantCall::RemoveMember { room_id, user_id } => {
                self.remove_member(origin, tenant, actor, room_id, user_id);
            }
            TenantCall::ReadMessages { room_id, range, limit } => {
                let bounds = PageBounds { messages: limit, size_bytes: HISTORY_PAGE_BYTES };
                self.read(origin, tenant, StoreRequest::ReadMessages { tenant, room_id, actor, range, bounds });
            }
            TenantCall::ReadMessage { room_id, message_id } => {
                self.read(origin, tenant, StoreRequest::ReadMessage { tenant, room_id, message_id, actor });
            }
            TenantCall::DeleteMessage { room_id, message_id } => {
                self.delete_message(origin, tenant, actor, room_id, message_id);
            }
            TenantCall::Notify(notify) => self.notify(origin, tenant, *notify),
        }
    }

    fn act_for_user(&mut self, request: RequestId, tenant: TenantKey, user_id: UserId, call: UserCall) {
        let origin = Origin::Request { request, tenant: Some(tenant) };
        match call {
            UserCall::SendMessage(message) => self.send_message(origin, tenant, user_id, *message),
            UserCall::EditMessage(edit) => self.edit_message(origin, tenant, user_id, *edit),
            UserCall::Acknowledge { room_id, seq } => self.acknowledge(origin, tenant, user_id, room_id, seq),
            UserCall::Subscribe { topic } => {
                self.read(origin, tenant, StoreRequest::Subscribe { tenant, user_id, topic, now: self.now.wall });
            }
            UserCall::ListSubscriptions => {
                self.read(origin, tenant, StoreRequest::ListSubscriptions { tenant, user_id });
            }
            UserCall::Unsubscribe { subscription_id } => {
                self.read(origin, tenant, StoreRequest::Unsubscribe { tenant, user_id, subscription_id });
            }
            UserCall::IssueToken { token } => self.issue_token(request, tenant, user_id, token),
        }
    }

    /// Hands a step to the store for somebody who waits, if its lane takes one more.
    pub(crate) fn submit_for(
        &mut self,
        tenant: TenantKey,
        origin: Origin,
        request: StoreRequest,
        step: impl FnOnce(Origin) -> Step,
    ) {
        if self.operations.has_room(request.lane(), Some(tenant)) {
            self.submit(Some(tenant), step(origin), request);
        } else {
            self.answer(origin, Err(overloaded()));
        }
    }

    /// Answers whoever waits for a step: a success goes to requests alone, a frame is answered in frames.
    pub(crate) fn answer(&mut self, origin: Origin, result: Result<Success, ApiError>) {
        match origin {
            Origin::Request { request, tenant } => self.respond(request, tenant, result),
            Origin::Frame { conn, request_id } => {
                if let Err(error) = result {
                    self.answer_error(conn, &error, request_id.as_deref());
                }
            }
            Origin::Key(_) | Origin::Session(_) | Origin::Nobody => {}
        }
    }

    fn read(&mut self, origin: Origin, tenant: TenantKey, request: StoreRequest) {
        self.submit_for(tenant, origin, request, |origin| Step::Read { origin });
    }

    pub(crate) fn on_read(&mut self, origin: Origin, result: StoreResult) {
        let reply = match result {
            Ok(reply) => reply,
            Err(failure) => return self.refuse(origin, failure),
        };
        let answer = match reply {
            StoreReply::Rooms { rooms, has_more } => Ok(Success::Rooms { rooms, has_more }),
            StoreReply::Room(room) => room.map(|room| Success::Room(Box::new(room))).map_err(ApiError::from),
            StoreReply::Members(page) => page.map(Success::Members).map_err(ApiError::from),
            StoreReply::Receipts(page) => page.map(Success::Receipts).map_err(ApiError::from),
            StoreReply::Messages(page) => page.map(Success::Messages).map_err(ApiError::from),
            StoreReply::Message(message) => {
                message.map(|message| Success::Message(Box::new(message))).map_err(ApiError::from)
            }
            StoreReply::Tenants(page) => Ok(Success::Tenants(self.show_tenants(page))),
            StoreReply::Tenant(tenant) => self.show_tenant(tenant, None),
            StoreReply::Subscribed(subscribed) => subscribed.map(Success::from).map_err(ApiError::from),
            StoreReply::Subscriptions(subscriptions) => Ok(Success::Subscriptions(subscriptions)),
            StoreReply::Unsubscribed { existed: true } => Ok(Success::Done),
            StoreReply::Unsubscribed { existed: false } => Err(no_subscription()),
            StoreReply::Booted { .. }
            | StoreReply::Written
            | StoreReply::TenantCreated(_)
            | StoreReply::KeyOwner(_)
            | StoreReply::TenantChanged(_)
            | StoreReply::KeyRotated(_)
            | StoreReply::TenantDeleted(_)
            | StoreReply::RoomCreated(_)
            | StoreReply::RoomChanged(_)
            | StoreReply::RoomDeleted(_)
            | StoreReply::MemberAdded(_)
            | StoreReply::MemberRemoved(_)
            | StoreReply::Appended(_)
            | StoreReply::MessageEdited(_)
            | StoreReply::MessageDeleted(_)
            | StoreReply::Acknowledged(_)
            | StoreReply::Backlog(_)
            | StoreReply::Positions(_)
            | StoreReply::Frames(_)
            | StoreReply::Head(_)
            | StoreReply::Notified(_)
            | StoreReply::Expansions(_)
            | StoreReply::Expanded(_)
            | StoreReply::Notifications(_)
            | StoreReply::Confirmed
            | StoreReply::Swept { .. } => Err(wrong_reply()),
        };
        self.answer(origin, answer);
    }

    fn issue_token(&mut self, request: RequestId, tenant: TenantKey, user: UserId, token: Secret) {
        self.tenants.hold(tenant);
        let (issued, expired) = self.tokens.issue(token.digest(), tenant, user, self.now.mono);
        for grant in expired {
            self.tenants.release(grant.tenant, self.now.mono);
        }
        if issued.is_err() {
            self.tenants.release(tenant, self.now.mono);
        }
        self.respond_with_limit(request, Some(tenant), Bucket::Connects, issued.map(|()| Success::Token(token)));
    }

    /// Moves a user's ack forward.
    pub(crate) fn acknowledge(
        &mut self,
        origin: Origin,
        tenant: TenantKey,
        user_id: UserId,
        room_id: RoomId,
        seq: Seq,
    ) {
        let request = StoreRequest::Acknowledge {
            tenant,
            room_id: room_id.clone(),
            user_id: user_id.clone(),
            seq,
            now: self.now.wall,
        };
        self.submit_for(tenant, origin, request, |origin| Step::Acknowledge { origin, room_id, user_id });
    }

    pub(crate) fn on_acknowledged(
        &mut self,
        origin: Origin,
        room_id: RoomId,
        user_id: UserId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let acknowledged = match result {
            Ok(StoreReply::Acknowledged(Ok(acknowledged))) => acknowledged,
            Ok(StoreReply::Acknowledged(Err(refusal))) => return self.answer(origin, Err(refusal.into())),
            Ok(_) => return self.answer(origin, Err(wrong_reply())),
            Err(failure) => return self.refuse(origin, failure),
        };
        if let Some(tenant) = tenant {
            self.publish_ack(&origin, tenant, &room_id, &user_id, acknowledged);
        }
        self.answer(origin, Ok(Success::Acknowledged { room_id, last_ack: acknowledged.last_ack }));
    }
}

/// 400 for a user id that breaks the rules.
pub(crate) fn invalid_user() -> ApiError {
    let message = "a user id is 1 to 128 bytes of UTF-8 without control characters or white space at its ends";
    ApiError::invalid("X-User-Id", message)
}

/// 500 where the parser's routes and the core's disagree.
fn misrouted() -> ApiError {
    ApiError::new(ErrorCode::Internal, "this route is not served by this kind of caller")
}

/// 500 where a store answered another question than it was asked.
pub(crate) fn wrong_reply() -> ApiError {
    ApiError::new(ErrorCode::Internal, "storage gave an answer that does not fit")
}

impl From<AccessRefusal> for ApiError {
    fn from(refusal: AccessRefusal) -> Self {
        match refusal {
            AccessRefusal::NoRoom => Self::no_room(),
            AccessRefusal::NotMember => Self::not_member(),
        }
    }
}

impl From<AcknowledgeRefusal> for ApiError {
    fn from(refusal: AcknowledgeRefusal) -> Self {
        match refusal {
            AcknowledgeRefusal::Access(access) => access.into(),
            AcknowledgeRefusal::PastHead => Self::invalid("seq", "seq lies past the room's newest message"),
        }
    }
}
