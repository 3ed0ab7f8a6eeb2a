//! Saboteurs: adapters between the core and its world that make a correct core look buggy in one way each. Each must be
//! caught by the invariant it is named for; so the checks are known to be able to fail.

mod sockets;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

use chatapi_core::api::{ApiError, ErrorCode, Success};
use chatapi_core::model::Message;
use chatapi_core::store::{Acknowledged, StoreReply, StoreRequest, StoreResult};
use chatapi_core::ws::{Frame, HandshakeCredentials, message_frame};
use chatapi_core::{ConnId, Digest, Effect, Input, MessageId, Now, OpId, RoomId, Seq, UnixMillis, UserId};
use serde::Deserialize;

use crate::invariant::Invariant;

macro_rules! saboteurs {
    ($($name:ident: $invariant:ident = $text:literal,)+) => {
        /// One way to be wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each says what it does in `name`")]
        pub enum Sabotage {
            $($name,)+
        }

        impl Sabotage {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What it does.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Which invariant must catch it.
            #[must_use]
            pub const fn caught_by(self) -> Invariant {
                match self {
                    $(Self::$name => Invariant::$invariant,)+
                }
            }
        }
    };
}

saboteurs! {
    SequenceGap: GaplessSequence = "the store leaves a number out",
    ChangedBody: StableBodies = "a message comes with another text",
    EarlyReport: DurableFirst = "a change is reported before it is durable",
    ForgottenCommit: AnsweredSurvives = "a crash takes a durable transaction with it",
    DeafConnection: EveryoneCatchesUp = "a connection gets no more messages",
    UntoldChange: EveryoneCatchesUp = "an edit or a deletion is not told",
    SkippedMessage: OrderOnConnection = "a message is left out",
    RepeatedMessage: OrderOnConnection = "a message comes twice",
    SwappedMessages: OrderOnConnection = "two messages change places",
    FrameToOtherTenant: TenantIsolation = "a frame goes to another tenant too",
    FrameToStranger: MembersOnly = "a frame goes to somebody who is no member too",
    ForeignForbidden: ForeignLooksMissing = "another tenant's room is 403, not 404",
    AckGoesBack: AcksAndUnread = "an ack is told lower than it is",
    UnreadOff: AcksAndUnread = "an unread count is one too high",
    ForgottenKey: Idempotency = "a message is stored without its idempotency key",
    DoubleAnswer: OneAnswer = "a request is answered twice",
    LostAnswer: OneAnswer = "a request is not answered",
    DoubleSubmit: OperationsOnce = "a step is submitted twice",
    StuckRead: OperationsOnce = "the answer to a read never reaches the core",
    EarlyOffline: Presence = "a user is offline within the grace",
    DoubleOnline: Presence = "a user is online twice",
    EndlessTyping: Presence = "the end of a typing is not told",
    TypingToStranger: MembersOnly = "a typing is told to a stranger",
    EarlySyncComplete: OrderOnConnection = "a sync is over before its last message",
    SyncFromLater: OrderOnConnection = "a sync leaves its first message out",
    DroppedNotification: Notifications = "a notification is dropped",
    StrayNotification: Notifications = "a notification goes to somebody who is no target",
    EarlyConfirm: Notifications = "a notification counts as heard too early",
    FastClock: RateLimit = "the core's clock runs twice as fast",
    ReusedToken: TokensOnce = "a token that was used admits again",
    DoubleFlush: BoundedQueues = "every flush is reported three times",
    IgnoredShutdown: CleanShutdown = "the core does not hear of the shutdown",
    TalkAfterStop: CleanShutdown = "a frame is sent after the end",
    ForgottenTenant: RestartEqualsStore = "after a restart a tenant's key is unknown",
    Restless: NoSpinning = "the next time-out is always now",
    GlobalCounter: Determinism = "the name of a connection counts the runs of this process",
}

/// What is different in every run of a process: what no simulation may look at.
static RUNS: AtomicI64 = AtomicI64::new(0);

/// A saboteur at work. It strikes on some of its opportunities.
#[derive(Debug)]
pub(crate) struct Saboteur {
    pub(crate) kind: Sabotage,
    opportunities: u64,
    synced: BTreeSet<ConnId>,
    heard: BTreeSet<(ConnId, RoomId)>,
    deaf: Option<ConnId>,
    held_back: Option<Effect>,
    used_tokens: BTreeSet<Digest>,
    started: Option<u64>,
    run: i64,
}

impl Saboteur {
    pub(crate) fn new(kind: Sabotage) -> Self {
        Self {
            kind,
            opportunities: 0,
            synced: BTreeSet::new(),
            heard: BTreeSet::new(),
            deaf: None,
            held_back: None,
            used_tokens: BTreeSet::new(),
            started: None,
            run: RUNS.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn strikes(&mut self, every: u64) -> bool {
        self.opportunities += 1;
        self.opportunities.is_multiple_of(every)
    }

    /// Whether a message is the first of its room for a connection that it goes to.
    fn hears_first(&mut self, effect: &Effect) -> bool {
        let Effect::Send { conns, frame } = effect else {
            return false;
        };
        let Some(message) = read_message(frame) else {
            return false;
        };
        let new = conns.iter().filter(|conn| self.heard.insert((**conn, message.room_id.clone())));
        new.count() > 0
    }

    /// Before the core handles an input. Hands back how often it is to handle it.
    pub(crate) fn on_input(
        &mut self,
        now: &mut Now,
        input: &mut Input,
        credentials: Option<&HandshakeCredentials>,
    ) -> usize {
        match (self.kind, &mut *input) {
            (Sabotage::FastClock, _) => {
                let started = *self.started.get_or_insert(now.mono.0);
                now.mono.0 += now.mono.0.saturating_sub(started);
                1
            }
            (Sabotage::ReusedToken, Input::Handshake { body, .. }) => {
                if let HandshakeCredentials::Token { token, .. } = &body.credentials
                    && !self.used_tokens.insert(*token)
                    && let Some(credentials) = credentials
                {
                    body.credentials = credentials.clone();
                }
                1
            }
            (Sabotage::SyncFromLater, input) => {
                self.on_sync_frame(input);
                1
            }
            (Sabotage::DoubleFlush, Input::Flushed { .. }) => 3,
            (Sabotage::IgnoredShutdown, Input::Shutdown) => 0,
            (
                Sabotage::StuckRead,
                Input::Stored { result: Ok(StoreReply::Messages(_) | StoreReply::Rooms { .. }), .. },
            ) => usize::from(!self.strikes(5)),
            _ => 1,
        }
    }

    /// What a change comes out as.
    pub(crate) fn on_commit(&mut self, reply: &mut StoreReply) {
        if self.kind == Sabotage::SequenceGap
            && let StoreReply::Appended(Ok(appended)) = reply
            && self.strikes(20)
        {
            appended.message.seq = appended.message.seq.next();
        }
    }

    /// What the core is told of a step.
    pub(crate) fn on_report(&mut self, result: &mut StoreResult, incarnation: u64) {
        match (self.kind, result) {
            (Sabotage::AckGoesBack, Ok(StoreReply::Acknowledged(Ok(Acknowledged { last_ack, .. }))))
                if last_ack.0 > 1 && self.strikes(4) =>
            {
                *last_ack = Seq(last_ack.0 - 1);
            }
            (Sabotage::UnreadOff, Ok(StoreReply::Rooms { rooms, .. })) => {
                for position in rooms.iter_mut().filter_map(|room| room.position.as_mut()) {
                    position.unread_count += 1;
                }
            }
            (Sabotage::ForgottenTenant, Ok(StoreReply::KeyOwner(owner))) if incarnation > 1 => *owner = None,
            _ => {}
        }
    }

    /// What the store is asked.
    pub(crate) fn on_submit(&mut self, request: &mut StoreRequest) {
        if self.kind == Sabotage::ForgottenKey
            && let StoreRequest::AppendMessage(new) = request
            && new.idempotency.is_some()
            && self.strikes(3)
        {
            new.idempotency = None;
        }
        if self.kind == Sabotage::EarlyConfirm
            && let StoreRequest::ConfirmNotifications { notifications, .. } = request
        {
            self.on_confirm(notifications);
        }
    }

    /// Before effects are carried out. `others` are open connections of other tenants, `strangers` open connections of
    /// the same tenant outside the room, for a frame's receiver and room, `fellow` one of the same tenant beside its
    /// receivers.
    pub(crate) fn on_effects(
        &mut self,
        effects: &mut Vec<Effect>,
        is_stopped: bool,
        others: impl Fn(ConnId) -> Option<ConnId>,
        strangers: impl Fn(ConnId, &RoomId) -> Option<ConnId>,
        fellow: impl Fn(&[ConnId]) -> Option<ConnId>,
        anyone: Option<ConnId>,
    ) {
        match self.kind {
            Sabotage::ChangedBody => {
                for effect in effects.iter_mut() {
                    if let Effect::Send { frame, .. } = effect
                        && let Some(mut message) = read_message(frame)
                        && self.strikes(15)
                    {
                        message.content.push('!');
                        *frame = message_frame(&message);
                    }
                }
            }
            Sabotage::DeafConnection => {
                for effect in effects.iter_mut() {
                    if let Effect::Send { conns, frame } = effect
                        && is_message(frame)
                    {
                        if self.deaf.is_none() && self.strikes(10) {
                            self.deaf = conns.iter().find(|conn| self.synced.contains(conn)).copied();
                        }
                        conns.retain(|conn| Some(*conn) != self.deaf);
                    } else if let Effect::Send { conns, frame } = effect
                        && frame.as_bytes().starts_with(br#"{"type":"sync.complete""#)
                    {
                        self.synced.extend(conns.iter());
                    }
                }
            }
            Sabotage::SkippedMessage => {
                for effect in effects.iter_mut() {
                    if let Effect::Send { conns, frame } = effect
                        && is_message(frame)
                        && self.strikes(10)
                    {
                        conns.pop();
                    }
                }
            }
            Sabotage::RepeatedMessage => {
                let repeated: Vec<Effect> =
                    effects.iter().filter(|effect| is_message_effect(effect)).cloned().collect();
                if !repeated.is_empty() && self.strikes(10) {
                    effects.extend(repeated);
                }
            }
            Sabotage::SwappedMessages => {
                let mut swapped = Vec::new();
                for effect in effects.drain(..) {
                    if !is_message_effect(&effect) {
                        swapped.push(effect);
                    } else if self.held_back.is_none() {
                        // The first message of a room on a connection has nothing to be out of order with.
                        if self.hears_first(&effect) {
                            swapped.push(effect);
                        } else {
                            self.held_back = Some(effect);
                        }
                    } else {
                        swapped.push(effect);
                        swapped.extend(self.held_back.take());
                    }
                }
                *effects = swapped;
            }
            Sabotage::FrameToOtherTenant => {
                for effect in effects.iter_mut() {
                    if let Effect::Send { conns, frame } = effect
                        && is_message(frame)
                        && let Some(other) = conns.first().and_then(|conn| others(*conn))
                    {
                        conns.push(other);
                    }
                }
            }
            Sabotage::FrameToStranger => {
                for effect in effects.iter_mut() {
                    if let Effect::Send { conns, frame } = effect
                        && let Some(message) = read_message(frame)
                        && let Some(stranger) = conns.first().and_then(|conn| strangers(*conn, &message.room_id))
                    {
                        conns.push(stranger);
                    }
                }
            }
            Sabotage::ForeignForbidden => {
                for effect in effects.iter_mut() {
                    if let Effect::Respond { answer, .. } = effect
                        && let Err(error) = &mut answer.result
                        && error.code == ErrorCode::NotFound
                        && self.strikes(2)
                    {
                        *error = ApiError::not_member();
                    }
                }
            }
            Sabotage::DoubleAnswer => {
                let answers = effects.iter().filter(|effect| matches!(effect, Effect::Respond { .. }));
                let twice: Vec<Effect> = answers.cloned().collect();
                if !twice.is_empty() && self.strikes(10) {
                    effects.extend(twice);
                }
            }
            Sabotage::LostAnswer => effects.retain(|effect| {
                let is_answer = matches!(effect, Effect::Respond { answer, .. } if matches!(answer.result, Ok(Success::Message(_))));
                !(is_answer && self.strikes(10))
            }),
            Sabotage::DoubleSubmit => {
                let submitted = effects.iter().filter(|effect| matches!(effect, Effect::Store { .. }));
                let twice: Vec<Effect> = submitted.cloned().collect();
                if !twice.is_empty() && self.strikes(20) {
                    effects.extend(twice);
                }
            }
            Sabotage::TalkAfterStop => {
                let stops = effects.contains(&Effect::Stop);
                if let Some(conn) = anyone.filter(|_| stops || is_stopped) {
                    effects.push(Effect::Ping { conns: vec![conn] });
                } else if stops {
                    effects.push(Effect::Store { op: OpId(u64::MAX), request: StoreRequest::Boot });
                }
            }
            Sabotage::UntoldChange => effects.retain(|effect| {
                let is_change = matches!(effect, Effect::Send { frame, .. } if is_change(frame));
                !(is_change && self.strikes(2))
            }),
            Sabotage::GlobalCounter => {
                for effect in effects.iter_mut() {
                    if let Effect::Send { frame, .. } = effect
                        && frame.as_bytes().starts_with(br#"{"type":"connected""#)
                    {
                        let text = String::from_utf8_lossy(frame.as_bytes());
                        let counted = text.replace(r#"":"conn_"#, &format!(r#"":"conn_{}_"#, self.run)).into();
                        *frame = serde_json::from_value(counted).unwrap_or_else(|_| frame.clone());
                    }
                }
            }
            Sabotage::EarlyOffline | Sabotage::DoubleOnline => self.tell_presence_again(effects),
            Sabotage::EndlessTyping => self.drop_frames(effects, "typing", r#""action":"stop""#),
            Sabotage::TypingToStranger => sockets::tell_strangers_of_typing(effects, strangers),
            Sabotage::EarlySyncComplete => self.end_sync_early(effects),
            Sabotage::DroppedNotification => self.drop_frames(effects, "notification", ""),
            Sabotage::StrayNotification => self.notify_others(effects, fellow),
            Sabotage::SyncFromLater
            | Sabotage::EarlyConfirm
            | Sabotage::SequenceGap
            | Sabotage::EarlyReport
            | Sabotage::ForgottenCommit
            | Sabotage::AckGoesBack
            | Sabotage::UnreadOff
            | Sabotage::ForgottenKey
            | Sabotage::StuckRead
            | Sabotage::FastClock
            | Sabotage::ReusedToken
            | Sabotage::DoubleFlush
            | Sabotage::IgnoredShutdown
            | Sabotage::ForgottenTenant
            | Sabotage::Restless => {}
        }
    }
}

fn is_message(frame: &Frame) -> bool {
    frame.as_bytes().starts_with(br#"{"type":"message","#) && !frame.as_bytes().ends_with(b"replayed\":true}")
}

fn is_change(frame: &Frame) -> bool {
    let kinds = [br#"{"type":"message.updated""#, br#"{"type":"message.deleted""#];
    kinds.iter().any(|kind| frame.as_bytes().starts_with(*kind))
}

fn is_message_effect(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { frame, .. } if is_message(frame))
}

fn read_message(frame: &Frame) -> Option<Message> {
    #[derive(Deserialize)]
    struct Body {
        room_id: String,
        message_id: String,
        seq: u64,
        sender_id: String,
        content: String,
    }
    if !is_message(frame) {
        return None;
    }
    let body: Body = serde_json::from_slice(frame.as_bytes()).ok()?;
    Some(Message {
        message_id: MessageId::new(&body.message_id),
        room_id: RoomId::new(&body.room_id),
        sender_id: UserId::new(&body.sender_id),
        seq: Seq(body.seq),
        content: body.content,
        meta: None,
        created_at: UnixMillis(0),
        edited_at: None,
        deleted_at: None,
    })
}
