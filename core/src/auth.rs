//! Who calls: tenants by their API keys, users by their WebSocket tokens.
//!
//! Keys are looked up on the store's readers, so that strangers never load the writer; what was found is cached, also
//! that nothing was.

use std::collections::{BTreeMap, VecDeque};

use lru::LruCache;

use crate::api::{ApiError, ApiRequest, ErrorCode};
use crate::config::Config;
use crate::core::Core;
use crate::id::{ConnId, RequestId, TenantId, TenantKey, UserId};
use crate::limits::{RateLimitStatus, TokenBucket};
use crate::model::Tenant;
use crate::operations::Step;
use crate::secret::Digest;
use crate::store::{KeyOwner, Lane, StoreFailure, StoreReply, StoreRequest, StoreResult};
use crate::time::{Micros, MonoMicros, Now, UnixMillis};
use crate::ws::HandshakeRequest;

/// How many keys of tenants are remembered, at some 500 bytes each.
const KNOWN_KEYS: usize = 20_000;
/// How many keys that name nobody are remembered: apart, so that strangers push no tenant out.
const UNKNOWN_KEYS: usize = 2_000;
/// How many keys are asked for at once: a part of the read lane, so that strangers leave room for tenants.
const KEY_LOOKUPS: usize = 250;
/// How many requests wait for a look-up.
const KEY_WAITERS: usize = 1_000;
/// For how long a key that names nobody is not asked for again.
const UNKNOWN_KEY_LIFETIME: Micros = Micros::from_secs(1);
/// After so long without use a key is forgotten, so that what is held follows who is active. Far longer than a bucket takes
/// to fill: that one begins anew makes no difference.
const IDLE_KEY_LIFETIME: Micros = Micros::from_secs(300);
/// At most so many are forgotten at a time, so that nobody waits for it.
const FORGOTTEN_AT_ONCE: usize = 500;
/// `expires_in` of a WebSocket token.
pub(crate) const TOKEN_LIFETIME: Micros = Micros::from_secs(60);
/// How many tokens wait to be used, at some 150 bytes each.
const TOKENS: usize = 500_000;
/// Within so long every bucket is full again, whatever was taken from it: until then it is kept for whoever comes back.
const BUCKETS_FULL_AFTER: Micros = Micros::from_secs(1);
/// Token requests and connects share a bucket so many times as large as that of other requests.
const CONNECT_RATE_FACTOR: u32 = 10;

/// A request that waits for its key to be looked up.
#[derive(Debug)]
pub(crate) enum Waiter {
    Request { request: RequestId, body: Box<ApiRequest> },
    Handshake { request: RequestId, conn: ConnId, body: Box<HandshakeRequest> },
}

/// The buckets of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// Requests and frames.
    Requests,
    /// Token requests and connects.
    Connects,
}

/// Tenants that somebody uses, and keys that were looked up.
#[derive(Debug)]
pub(crate) struct TenantCache {
    keys: LruCache<Digest, KnownKey>,
    /// Keys that name nobody, and until when that is believed.
    strangers: LruCache<Digest, MonoMicros>,
    asking: BTreeMap<Digest, Vec<Waiter>>,
    waiters: usize,
    tenants: BTreeMap<TenantKey, TenantState>,
    /// Tenants that nothing held any more, and until when their buckets are kept, in this order.
    idle: VecDeque<(MonoMicros, TenantKey)>,
    keys_version: u64,
}

/// Whom a key names.
#[derive(Debug, Clone, Copy)]
struct KnownKey {
    tenant: TenantKey,
    /// Until when, for a key that is retired.
    until: Option<MonoMicros>,
    used: MonoMicros,
}

#[derive(Debug)]
struct TenantState {
    tenant: Tenant,
    requests: TokenBucket,
    connects: TokenBucket,
    /// Cached keys, sessions and tokens that refer to it.
    holders: usize,
    /// Until when it is kept without any.
    kept_until: MonoMicros,
}

impl Default for TenantCache {
    fn default() -> Self {
        Self {
            keys: LruCache::unbounded(),
            strangers: LruCache::unbounded(),
            asking: BTreeMap::new(),
            waiters: 0,
            tenants: BTreeMap::new(),
            idle: VecDeque::new(),
            keys_version: 0,
        }
    }
}

impl TenantCache {
    /// A tenant that a session, a token or a cached key holds.
    pub(crate) fn get(&self, key: TenantKey) -> Option<&Tenant> {
        self.tenants.get(&key).map(|state| &state.tenant)
    }

    /// Takes a token; else says after how many milliseconds there is one.
    pub(crate) fn charge(&mut self, key: TenantKey, bucket: Bucket, now: MonoMicros) -> Result<(), u64> {
        self.tenants.get_mut(&key).map_or(Ok(()), |state| state.bucket_mut(bucket).take(now))
    }

    pub(crate) fn rate_limit(&mut self, key: TenantKey, bucket: Bucket, now: MonoMicros) -> Option<RateLimitStatus> {
        self.tenants.get_mut(&key).map(|state| state.bucket_mut(bucket).status(now))
    }

    pub(crate) fn hold(&mut self, key: TenantKey) {
        if let Some(state) = self.tenants.get_mut(&key) {
            state.holders += 1;
        }
    }

    /// Lets go of a tenant. One that nothing holds is forgotten when its buckets are full: else a rotated key, or a last
    /// socket that closes, would fill them at once.
    pub(crate) fn release(&mut self, key: TenantKey, now: MonoMicros) {
        if let Some(state) = self.tenants.get_mut(&key) {
            state.holders -= 1;
            if state.holders == 0 {
                state.kept_until = now + BUCKETS_FULL_AFTER;
                self.idle.push_back((state.kept_until, key));
            }
        }
        self.forget_idle(now);
    }

    fn forget_idle(&mut self, now: MonoMicros) {
        while let Some((_, key)) = self.idle.front().filter(|(until, _)| *until <= now).copied() {
            self.idle.pop_front();
            if self.tenants.get(&key).is_some_and(|state| state.holders == 0 && state.kept_until <= now) {
                self.tenants.remove(&key);
            }
        }
    }

    /// Called when any key came to name another tenant than before, or none, or a tenant changed: answers under way are
    /// void.
    fn keys_changed(&mut self) {
        self.keys_version += 1;
    }

    /// Whom a key names, if that is known: `Some(None)` is nobody.
    fn look_up(&mut self, api_key: Digest, now: MonoMicros) -> Option<Option<TenantKey>> {
        if let Some(KnownKey { tenant, until, used }) = self.keys.get_mut(&api_key) {
            *used = now;
            return Some(until.is_none_or(|until| now < until).then_some(*tenant));
        }
        let until = self.strangers.get(&api_key)?;
        (now < *until).then_some(None)
    }

    fn remember(&mut self, api_key: Digest, found: Option<KeyOwner>, config: &Config, now: Now) {
        let owner = found.filter(|owner| owner.valid_until.is_none_or(|until| now.wall < until));
        let Now { mono: now, wall } = now;
        let Some(KeyOwner { tenant, valid_until }) = owner else {
            self.strangers.put(api_key, now + UNKNOWN_KEY_LIFETIME);
            if self.strangers.len() > UNKNOWN_KEYS {
                self.strangers.pop_lru();
            }
            return;
        };
        let key = tenant.key;
        self.forget_idle(now);
        self.tenants.entry(key).or_insert_with(|| TenantState::new(tenant, config, now)).holders += 1;
        let left = |until: UnixMillis| Micros::from_millis((until.0 - wall.0).max(0).unsigned_abs());
        let until = valid_until.map(|until| now + left(until));
        let replaced = self.keys.put(api_key, KnownKey { tenant: key, until, used: now });
        let evicted = if self.keys.len() > KNOWN_KEYS { self.keys.pop_lru().map(|(_, known)| known) } else { None };
        for known in [replaced, evicted].into_iter().flatten() {
            self.release(known.tenant, now);
        }
    }

    /// Forgets some of the keys that nobody has used for long, and of those that name nobody.
    pub(crate) fn forget_unused_keys(&mut self, now: MonoMicros) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            if self.keys.peek_lru().is_none_or(|(_, known)| now < known.used + IDLE_KEY_LIFETIME) {
                break;
            }
            if let Some((_, known)) = self.keys.pop_lru() {
                self.release(known.tenant, now);
            }
        }
        for _ in 0..FORGOTTEN_AT_ONCE {
            if self.strangers.peek_lru().is_none_or(|(_, until)| now < *until) {
                break;
            }
            self.strangers.pop_lru();
        }
        self.forget_idle(now);
    }

    /// A tenant that a session, a token or a cached key holds.
    pub(crate) fn find(&self, tenant_id: &TenantId) -> Option<TenantKey> {
        self.tenants.values().find(|state| state.tenant.tenant_id == *tenant_id).map(|state| state.tenant.key)
    }

    /// Takes a tenant's change over, its limits at once.
    pub(crate) fn refresh(&mut self, tenant: &Tenant, config: &Config, now: MonoMicros) {
        if let Some(state) = self.tenants.get_mut(&tenant.key) {
            let rate = rate_of(tenant, config);
            state.requests.set_rate(rate, now);
            state.connects.set_rate(rate.saturating_mul(CONNECT_RATE_FACTOR), now);
            state.tenant = tenant.clone();
        }
        self.keys_changed();
    }

    /// Forgets the keys of a tenant: they are looked up again.
    fn forget_keys(&mut self, tenant: TenantKey, now: MonoMicros) {
        let of_tenant = self.keys.iter().filter(|(_, known)| known.tenant == tenant);
        let api_keys: Vec<Digest> = of_tenant.map(|(api_key, _)| *api_key).collect();
        for api_key in api_keys {
            self.keys.pop(&api_key);
            self.release(tenant, now);
        }
        self.keys_changed();
    }

    fn take_waiters(&mut self, api_key: Digest) -> Vec<Waiter> {
        let waiters = self.asking.remove(&api_key).unwrap_or_default();
        self.waiters -= waiters.len();
        waiters
    }
}

impl TenantState {
    fn new(tenant: Tenant, config: &Config, now: MonoMicros) -> Self {
        let rate = rate_of(&tenant, config);
        Self {
            requests: TokenBucket::full(rate, now),
            connects: TokenBucket::full(rate.saturating_mul(CONNECT_RATE_FACTOR), now),
            tenant,
            holders: 0,
            kept_until: now,
        }
    }

    const fn bucket_mut(&mut self, bucket: Bucket) -> &mut TokenBucket {
        match bucket {
            Bucket::Requests => &mut self.requests,
            Bucket::Connects => &mut self.connects,
        }
    }
}

/// Tokens a second of a tenant's.
fn rate_of(tenant: &Tenant, config: &Config) -> u32 {
    tenant.config.rate_limit.unwrap_or(config.default_rate_limit).max(1)
}

/// 401 for whoever names no tenant.
pub(crate) fn unknown_key() -> ApiError {
    ApiError::new(ErrorCode::Authentication, "X-API-Key is missing or names no tenant")
}

impl Core {
    /// Finds out whom a key names and goes on with the waiter, at once or when the store has answered.
    pub(crate) fn identify(&mut self, api_key: Digest, waiter: Waiter) {
        if let Some(tenant) = self.tenants.look_up(api_key, self.now.mono) {
            self.go_on(waiter, tenant.ok_or_else(unknown_key));
            return;
        }
        let is_asked = self.tenants.asking.contains_key(&api_key);
        // Look-ups that were given up still take their places in the lane.
        let takes_another = self.tenants.asking.len() < KEY_LOOKUPS && self.operations.has_room(Lane::Read, None);
        if self.tenants.waiters >= KEY_WAITERS || !(is_asked || takes_another) {
            self.go_on(waiter, Err(overloaded()));
            return;
        }
        self.tenants.waiters += 1;
        self.tenants.asking.entry(api_key).or_default().push(waiter);
        if !is_asked {
            self.ask_for_key(api_key);
        }
    }

    pub(crate) fn on_tenant_found(&mut self, api_key: Digest, keys_version: u64, result: StoreResult) {
        let found = match result {
            Ok(StoreReply::KeyOwner(found)) => found,
            Ok(_) => return self.key_lookup_failed(api_key, StoreFailure::Failed),
            Err(failure) => return self.key_lookup_failed(api_key, failure),
        };
        if keys_version != self.tenants.keys_version {
            if self.tenants.asking.contains_key(&api_key) {
                self.ask_for_key(api_key);
            }
            return;
        }
        self.tenants.remember(api_key, found, &self.config, self.now);
        let tenant = self.tenants.look_up(api_key, self.now.mono).flatten();
        for waiter in self.tenants.take_waiters(api_key) {
            self.go_on(waiter, tenant.ok_or_else(unknown_key));
        }
    }

    pub(crate) fn key_lookup_failed(&mut self, api_key: Digest, failure: StoreFailure) {
        for waiter in self.tenants.take_waiters(api_key) {
            self.go_on(waiter, Err(failure.into()));
        }
    }

    /// Forgets that the key of a tenant that was just created names nobody.
    pub(crate) fn on_key_created(&mut self, api_key: Digest) {
        self.tenants.keys_changed();
        self.tenants.strangers.pop(&api_key);
    }

    /// Forgets the keys of a tenant, and the tokens that wait to be used.
    pub(crate) fn forget_credentials(&mut self, tenant: TenantKey) {
        for grant in self.tokens.remove_of(tenant) {
            self.tenants.release(grant.tenant, self.now.mono);
        }
        self.tenants.forget_keys(tenant, self.now.mono);
    }

    fn ask_for_key(&mut self, api_key: Digest) {
        let keys_version = self.tenants.keys_version;
        self.submit(None, Step::FindTenant { api_key, keys_version }, StoreRequest::FindTenant { api_key });
    }

    fn go_on(&mut self, waiter: Waiter, tenant: Result<TenantKey, ApiError>) {
        match (waiter, tenant) {
            (Waiter::Request { request, body }, Ok(tenant)) => self.serve_tenant(request, tenant, *body),
            (Waiter::Handshake { request, conn, body }, Ok(tenant)) => {
                self.connect_with_key(request, conn, tenant, *body);
            }
            (Waiter::Request { request, .. } | Waiter::Handshake { request, .. }, Err(error)) => {
                self.respond(request, None, Err(error));
            }
        }
    }
}

/// 503 where a queue is full.
pub(crate) fn overloaded() -> ApiError {
    ApiError::unavailable("the server is overloaded: try again", 1_000)
}

/// What a WebSocket token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenGrant {
    pub(crate) tenant: TenantKey,
    pub(crate) user: UserId,
    expires: MonoMicros,
}

/// WebSocket tokens that wait to be used. They live in memory alone, on the monotonic clock: neither a restart nor a
/// stepped wall clock revives one.
#[derive(Debug, Default)]
pub(crate) struct TokenTable {
    grants: BTreeMap<Digest, TokenGrant>,
    /// In the order of issue, which is that of expiry.
    expiry: VecDeque<Digest>,
}

impl TokenTable {
    /// Issues a token, or says that too many wait. Hands back the grants that expired meanwhile.
    pub(crate) fn issue(
        &mut self,
        token: Digest,
        tenant: TenantKey,
        user: UserId,
        now: MonoMicros,
    ) -> (Result<(), ApiError>, Vec<TokenGrant>) {
        let expired = self.remove_expired(now);
        // Used ones stand in the order of expiry until their time is over.
        if self.expiry.len() >= TOKENS {
            return (Err(overloaded()), expired);
        }
        self.grants.insert(token, TokenGrant { tenant, user, expires: now + TOKEN_LIFETIME });
        self.expiry.push_back(token);
        (Ok(()), expired)
    }

    /// Uses a token up, whatever comes of it.
    pub(crate) fn take(&mut self, token: Digest) -> Option<TokenGrant> {
        self.grants.remove(&token)
    }

    /// Forgets the tokens of a tenant; hands back their grants.
    fn remove_of(&mut self, tenant: TenantKey) -> Vec<TokenGrant> {
        let of_tenant = self.grants.iter().filter(|(_, grant)| grant.tenant == tenant);
        let tokens: Vec<Digest> = of_tenant.map(|(token, _)| *token).collect();
        tokens.into_iter().filter_map(|token| self.grants.remove(&token)).collect()
    }

    fn remove_expired(&mut self, now: MonoMicros) -> Vec<TokenGrant> {
        let mut expired = Vec::new();
        while let Some(token) = self.expiry.front() {
            match self.grants.get(token) {
                Some(grant) if grant.is_valid(now) => break,
                Some(_) => expired.extend(self.grants.remove(token)),
                None => {}
            }
            self.expiry.pop_front();
        }
        expired
    }
}

impl TokenGrant {
    pub(crate) fn is_valid(&self, now: MonoMicros) -> bool {
        now < self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantConfig;

    fn at(secs: u64) -> MonoMicros {
        MonoMicros(0) + Micros::from_secs(secs)
    }

    fn remember(cache: &mut TenantCache, number: u8, secs: u64) {
        let tenant = Tenant {
            key: TenantKey(number.into()),
            tenant_id: TenantId::new(&format!("tenant_{number}")),
            name: "a tenant".to_owned(),
            config: TenantConfig::default(),
            created_at: UnixMillis(1),
        };
        let now = Now { mono: at(secs), wall: UnixMillis(1) };
        let owner = KeyOwner { tenant, valid_until: None };
        cache.remember(Digest([number; 32]), Some(owner), &Config::default(), now);
    }

    #[test]
    fn keys_that_nobody_uses_are_forgotten_with_their_tenants() {
        let mut cache = TenantCache::default();
        for number in 1..=3 {
            remember(&mut cache, number, 0);
        }
        cache.hold(TenantKey(3));
        assert_eq!(cache.look_up(Digest([1; 32]), at(200)), Some(Some(TenantKey(1))));
        cache.forget_unused_keys(at(299));
        assert_eq!(cache.keys.len(), 3, "nothing was idle for long");

        cache.forget_unused_keys(at(300));
        assert_eq!(cache.look_up(Digest([1; 32]), at(300)), Some(Some(TenantKey(1))), "it was used meanwhile");
        assert_eq!(cache.look_up(Digest([2; 32]), at(300)), None, "it is asked for again");
        cache.forget_unused_keys(at(302));
        assert!(cache.get(TenantKey(2)).is_none());
        assert!(cache.get(TenantKey(3)).is_some(), "a session holds it");

        cache.release(TenantKey(3), at(302));
        cache.forget_unused_keys(at(600));
        cache.forget_unused_keys(at(602));
        assert!(cache.keys.is_empty() && cache.tenants.is_empty());
    }

    #[test]
    fn strangers_are_forgotten_once_they_are_not_believed_any_more() {
        let mut cache = TenantCache::default();
        let now = Now { mono: at(0), wall: UnixMillis(1) };
        cache.remember(Digest([9; 32]), None, &Config::default(), now);
        assert_eq!(cache.look_up(Digest([9; 32]), at(0)), Some(None));
        cache.forget_unused_keys(at(0));
        assert_eq!(cache.strangers.len(), 1);
        cache.forget_unused_keys(at(1));
        assert!(cache.strangers.is_empty());
    }

    #[test]
    fn a_part_is_forgotten_at_a_time() {
        let mut cache = TenantCache::default();
        let now = Now { mono: at(0), wall: UnixMillis(1) };
        for number in 0..=FORGOTTEN_AT_ONCE {
            let digest = Digest::of(&number.to_be_bytes());
            cache.remember(digest, None, &Config::default(), now);
        }
        cache.forget_unused_keys(at(10));
        assert_eq!(cache.strangers.len(), 1);
    }
}
