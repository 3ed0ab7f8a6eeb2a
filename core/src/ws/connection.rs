//! A connection's life: the handshake, its frames, its end.

use super::catch_up::{SyncKind, SyncRequest};
use super::client::{ClientFrame, Command, FrameBucket};
use super::handshake::{BacklogChoice, HandshakeCredentials, HandshakeRequest};
use super::server::{connected, error, pong};
use super::session::Due;
use crate::api::{ApiError, ErrorCode, UserHeader, invalid_user};
use crate::auth::{Bucket, Waiter, overloaded, unknown_key};
use crate::core::{Core, Phase};
use crate::effect::{CloseReason, Effect};
use crate::id::{ConnId, RequestId, TenantKey, UserId};
use crate::operations::{Origin, Step};
use crate::store::{Lane, StoreRequest};

/// So many frames in a row that are none end a connection (protocol, section 7).
const INVALID_FRAMES_MAX: u8 = 20;

impl Core {
    pub(crate) fn on_handshake(&mut self, request: RequestId, conn: ConnId, body: Box<HandshakeRequest>) {
        if self.phase != Phase::Serving {
            return self.respond(request, None, Err(self.not_serving()));
        }
        if body.origin.as_deref().is_some_and(|origin| !self.config.allowed_origins.allow(origin)) {
            let message = "this Origin is not allowed: add it to WS_ALLOWED_ORIGINS";
            return self.respond(request, None, Err(ApiError::new(ErrorCode::Authorization, message)));
        }
        match body.credentials.clone() {
            HandshakeCredentials::Missing => self.respond(request, None, Err(unknown_key())),
            HandshakeCredentials::ApiKey { api_key, .. } => {
                self.identify(api_key, Waiter::Handshake { request, conn, body });
            }
            HandshakeCredentials::Token { token, user } => {
                let Some(grant) = self.tokens.take(token) else {
                    return self.respond(request, None, Err(bad_token()));
                };
                if grant.is_valid(self.now.mono)
                    && (user == UserHeader::Absent || user == UserHeader::User(grant.user.clone()))
                {
                    let charged = self.tenants.charge(grant.tenant, Bucket::Connects, self.now.mono);
                    self.connect(request, conn, grant.tenant, charged, Ok(grant.user), body.backlog);
                } else {
                    self.respond(request, None, Err(bad_token()));
                }
                self.tenants.release(grant.tenant, self.now.mono);
            }
        }
    }

    /// Goes on with a handshake whose API key names `tenant`.
    pub(crate) fn connect_with_key(
        &mut self,
        request: RequestId,
        conn: ConnId,
        tenant: TenantKey,
        body: HandshakeRequest,
    ) {
        if self.phase != Phase::Serving {
            let error = self.not_serving();
            return self.respond_with_limit(request, Some(tenant), Bucket::Connects, Err(error));
        }
        let charged = self.tenants.charge(tenant, Bucket::Connects, self.now.mono);
        let user = match body.credentials {
            HandshakeCredentials::ApiKey { user: UserHeader::User(user), .. } => Ok(user),
            HandshakeCredentials::ApiKey { user: UserHeader::Invalid, .. } => Err(invalid_user()),
            HandshakeCredentials::ApiKey { user: UserHeader::Absent, .. }
            | HandshakeCredentials::Token { .. }
            | HandshakeCredentials::Missing => {
                let message = "the user is missing: send X-User-Id or ?user_id=";
                let error = ApiError::new(ErrorCode::Authentication, message);
                return self.respond_with_limit(request, Some(tenant), Bucket::Connects, Err(error));
            }
        };
        self.connect(request, conn, tenant, charged, user, body.backlog);
    }

    fn connect(
        &mut self,
        request: RequestId,
        conn: ConnId,
        tenant: TenantKey,
        charged: Result<(), u64>,
        user: Result<UserId, ApiError>,
        backlog: Result<BacklogChoice, ApiError>,
    ) {
        let charged = charged.map_err(ApiError::rate_limited);
        let admitted = charged.and_then(|()| Ok((user?, backlog?))).and_then(|admitted| {
            if self.operations.has_room(Lane::Write, Some(tenant)) { Ok(admitted) } else { Err(overloaded()) }
        });
        let (user, choice) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return self.respond_with_limit(request, Some(tenant), Bucket::Connects, Err(error)),
        };
        let Some(rate_limit) = self.tenants.rate_limit(tenant, Bucket::Connects, self.now.mono) else {
            return self.respond(request, None, Err(unknown_key()));
        };
        self.counters.requests_answered += 1;
        self.emit(Effect::Accept { request, conn, rate_limit });
        if self.sessions.count_of(tenant, &user) >= self.config.max_connections_per_user as usize {
            match self.sessions.unresponsive_of(tenant, &user, self.now.mono) {
                Some(other) => self.close(other, CloseReason::Unresponsive),
                None => {
                    return self.emit(Effect::Close { conn, reason: CloseReason::TooManyConnections });
                }
            }
        }
        self.tenants.hold(tenant);
        self.sessions.open(conn, tenant, user.clone(), self.now.mono);
        let connection_id = self.ids.connection(self.now.wall);
        let greeting = connected(&user, &connection_id, self.now.wall, &self.epoch);
        self.send_own(conn, greeting);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.catch_up_mut().await_backlog();
        }
        let request = StoreRequest::LoadBacklog { tenant, user_id: user };
        self.submit(Some(tenant), Step::LoadBacklog { conn, choice }, request);
    }

    pub(crate) fn on_frame(&mut self, conn: ConnId, frame: ClientFrame) {
        let now = self.now.mono;
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.said_something(now);
        let (tenant, user) = (session.tenant, session.user.clone());
        let ClientFrame { request_id, paid_by, command } = frame;
        session.invalid_in_a_row = if command.is_ok() { 0 } else { session.invalid_in_a_row.saturating_add(1) };
        let is_hopeless = session.invalid_in_a_row >= INVALID_FRAMES_MAX;
        let charged = match paid_by {
            FrameBucket::Connection => session.control.take(now),
            FrameBucket::Tenant => self.tenants.charge(tenant, Bucket::Requests, now),
        };
        let command = charged.map_err(ApiError::rate_limited).and(command);
        self.confirm_notifications(conn);
        let origin = Origin::Frame { conn, request_id: request_id.clone() };
        match command {
            Ok(Command::SendMessage(message)) => self.send_message(origin, tenant, user, *message),
            Ok(Command::Acknowledge { room_id, seq }) => self.acknowledge(origin, tenant, user, room_id, seq),
            Ok(Command::Ping) => self.send_own(conn, pong(request_id.as_deref())),
            Ok(Command::Typing { room_id, action }) => self.type_in(origin, conn, tenant, user, room_id, action),
            Ok(Command::Subscribe { room_id, after }) => {
                self.sync_again(conn, SyncRequest { kind: SyncKind::Subscribe { room_id, after }, request_id });
            }
            Ok(Command::Resume { rooms }) => {
                self.sync_again(conn, SyncRequest { kind: SyncKind::Resume { rooms }, request_id });
            }
            Err(error) => {
                self.answer(origin, Err(error));
                if is_hopeless {
                    self.close(conn, CloseReason::TooManyInvalidFrames);
                }
            }
        }
    }

    pub(crate) fn on_heard(&mut self, conn: ConnId) {
        let now = self.now.mono;
        if let Some(session) = self.sessions.get_mut(conn) {
            session.said_something(now);
        }
        self.confirm_notifications(conn);
    }

    pub(crate) fn on_flushed(&mut self, conn: ConnId, frames: u32, size_bytes: u64, peer_reads: bool) {
        let now = self.now.mono;
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.flushed(frames, size_bytes, peer_reads, now);
        while let Some(broadcast) = self.sessions.get_mut(conn).and_then(|session| session.take_kept()) {
            self.send_own(conn, broadcast.frame());
        }
        self.conclude_sync(conn);
        self.read_on(conn);
    }

    pub(crate) fn on_closed(&mut self, conn: ConnId) {
        let Some((session, rooms)) = self.sessions.remove(conn, self.now.mono) else {
            return;
        };
        for room_id in rooms {
            self.audiences.leave(&room_id, conn);
        }
        self.stop_typings_of(conn, session.tenant, &session.user);
        self.tenants.release(session.tenant, self.now.mono);
    }

    /// Ends a connection from this side: nothing for it follows.
    pub(crate) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        if self.sessions.contains(conn) {
            self.on_closed(conn);
            self.emit(Effect::Close { conn, reason });
        }
    }

    pub(crate) fn answer_error(&mut self, conn: ConnId, failure: &ApiError, request_id: Option<&str>) {
        self.send_own(conn, error(failure, request_id));
    }

    pub(crate) fn keep_alive(&mut self) {
        let mut pinged = Vec::new();
        while let Some((conn, due)) = self.sessions.take_due(self.now.mono) {
            match due {
                Due::Nothing => {}
                Due::Ping => pinged.push(conn),
                Due::Silent => self.close(conn, CloseReason::Unresponsive),
                Due::Stuck => self.close(conn, CloseReason::SlowReader),
            }
        }
        if !pinged.is_empty() {
            self.emit(Effect::Ping { conns: pinged });
        }
    }
}

fn bad_token() -> ApiError {
    ApiError::new(ErrorCode::Authentication, "the token is unknown, used, expired or another user's: ask for a new one")
}
