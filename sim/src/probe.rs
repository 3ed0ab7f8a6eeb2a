//! The interesting states that runs must reach: counted, and demanded over a batch of seeds.

macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A state worth reaching.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Probe {
            $($(#[$doc])* $name,)+
        }

        impl Probe {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What it says.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

probes! {
    /// Nothing of an open transaction survives.
    CrashWithUndurable = "a crash with two undurable changes",
    /// Somebody was told, or could have been.
    CrashWithUnreported = "a crash with durable changes that were not reported",
    /// The core hears of what an earlier life stored.
    ResumeAcrossCrash = "a backlog that spans a crash",
    /// A client that never heard of its success tries again.
    IdempotentHitAfterLostAnswer = "an idempotent hit after a lost answer",
    /// The same key twice, both under way.
    TwinsInFlight = "twins in flight",
    /// A key with another body.
    KeyReused = "an idempotency key with another body",
    /// What is deleted stays so.
    EditOfDeleted = "an edit of a deleted message refused",
    /// Somebody was shown a message that changed afterwards, and heard of it.
    ChangeHeard = "a change of a message heard by who was shown it",
    /// A key older than a day.
    KeyForgotten = "an idempotency key that was forgotten after a day",
    /// Two of the same dm at once.
    DmRace = "a dm created twice at once",
    /// A dm of others.
    DmOfOthers = "a dm of others refused",
    /// The outcome was unknown and the change stands.
    UnknownButKept = "an unknown outcome that was kept",
    /// The outcome was unknown and nothing stands.
    UnknownAndLost = "an unknown outcome that was lost",
    /// Members got what a recovery found.
    RoomRecovered = "a room whose head was recovered",
    /// The store was too slow for whoever asked.
    StoreTimedOut = "a store request given up",
    /// And answered later.
    LateReply = "a late reply",
    /// For a connection that was gone.
    StaleRead = "a read reported after its connection had gone",
    /// A page showed more than was pushed.
    PageAheadOfPushes = "a page that ran ahead of the pushes",
    /// A queue that takes no more.
    QueueFull = "a connection's queue at its bound",
    /// All the same it got everything.
    SlowReaderCaughtUp = "a slow reader caught up",
    /// Its connection was closed.
    SlowReaderClosed = "a slow reader closed",
    /// Nobody heard of its end.
    VanishedClosed = "a vanished peer closed",
    /// The place of one that answers no pings.
    CapReplaced = "a connection in the place of an unresponsive one",
    /// Too many connections.
    CapRefused = "a connection past the cap",
    /// Twenty frames that are none.
    GarbageClosed = "twenty invalid frames in a row",
    /// More than a thousand missed messages.
    Truncated = "a backlog cut to its newest thousand",
    /// A long room.
    TenThousand = "a room at 10,000 messages",
    /// 429.
    RateLimited = "a request over the rate limit",
    /// The same for frames.
    FrameRateLimited = "a frame over the rate limit",
    /// The second use.
    TokenUsedTwice = "a token used twice",
    /// After a minute.
    TokenExpired = "a token used too late",
    /// After the wall clock was set back.
    TokenExpiredDespiteClock = "a token used too late, the wall clock set back",
    /// By another user.
    TokenOfAnother = "a token used for another user",
    /// Another tenant's room.
    ForeignRoom = "another tenant's room asked for",
    /// A room of others.
    NotMember = "a room of others asked for",
    /// Past the newest.
    AckPastHead = "an ack past the newest message",
    /// A lower number.
    AckBehind = "an ack behind the last",
    /// 503.
    Unavailable = "a request refused by the store",
    /// The health check's write hung.
    Unhealthy = "a health check that failed",
    /// Before the store had booted.
    StartingRefused = "a request before the boot",
    /// It failed and was tried again.
    BootFailed = "a boot that failed",
    /// A request while the process ends.
    DrainingRefused = "a request during a shutdown",
    /// While something was being read again.
    ShutdownDuringRecovery = "a shutdown during a recovery",
    /// With something under way.
    ShutdownUnderWay = "a shutdown with requests under way",
    /// At its deadline.
    ShutdownAtDeadline = "a shutdown that ended at its deadline",
    /// A user came back within it.
    GraceCancelled = "a grace cancelled",
    /// The latest is told when the queue has room.
    PresenceKept = "a presence kept for a slow reader",
    /// Nobody stopped it.
    TypingStopped = "a typing stopped by time",
    /// It waits for its turn.
    SubscribeDuringBacklog = "a subscribe during a backlog",
    /// A hundred wait.
    TooManySyncs = "a subscribe past the hundred that wait",
    /// From a position of an earlier life.
    ResumedAcrossCrash = "a resume across a crash",
    /// It waited for its target.
    NotificationAcrossCrash = "a notification pending across a crash",
    /// Some targets were named, others were not.
    CrashWhileExpanding = "a crash between two steps of an expansion",
    /// The wall clock was set back.
    ClockSetBack = "a wall clock that stepped back",
    /// Much later than asked for.
    LateTick = "a tick ten seconds late",
}

/// How often each was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probes {
    counts: Vec<u64>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { counts: vec![0; Probe::ALL.len()] }
    }
}

impl Probes {
    /// Notes that a state was reached.
    pub fn hit(&mut self, probe: Probe) {
        self.counts[probe as usize] += 1;
    }

    /// How often it was.
    #[must_use]
    pub fn count(&self, probe: Probe) -> u64 {
        self.counts[probe as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Those that were never reached.
    #[must_use]
    pub fn missed(&self) -> Vec<Probe> {
        Probe::ALL.iter().copied().filter(|probe| self.count(*probe) == 0).collect()
    }
}
