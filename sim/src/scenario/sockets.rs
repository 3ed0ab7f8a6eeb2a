//! What clients ask to be sent again, notifications, and who comes and goes, drawn from choices.

use super::Generator;
use crate::action::{Action, ClientFrame, Connect, Ending, Notify, Peer, Targets, Who};
use crate::choices::Choices;

impl<C: Choices> Generator<C> {
    /// Others come and go while somebody is slow, who then reads on, whoever that is.
    pub(super) fn come_and_go(&mut self, who: Who) {
        for user in 0..3 {
            let end = Action::Disconnect(self.pick(), Ending::Close);
            let connect = Connect { token: None, sync: true, as_other: false };
            let connect = Action::Connect(Who { user, ..who }, connect);
            self.planned.extend([end, connect, Action::Settle, Action::Advance(6_000_000)]);
        }
        for pick in 0..12 {
            self.planned.extend([Action::SetPeer(pick, Peer::Reads), Action::Flush(pick, 1_000)]);
        }
    }

    pub(super) fn sync_again(&mut self) -> ClientFrame {
        let (room, position) = (self.room(), self.position());
        match self.workload.below(4) {
            0 => ClientFrame::Subscribe(room, None),
            1 => ClientFrame::Resume(room, self.workload.below(4) as u8, position),
            _ => ClientFrame::Subscribe(room, Some(position)),
        }
    }

    pub(super) fn notify(&mut self) -> Notify {
        let users: Vec<u8> = (0..self.workload.below(4)).map(|_| self.workload.below(6) as u8).collect();
        let targets = match self.workload.below(20) {
            0 => Targets::Nobody,
            1 | 2 => Targets::Crowd(users),
            3..=5 => Targets::Online,
            6..=9 => Targets::Users(users),
            10..=13 => Targets::Room(self.room()),
            14..=16 => Targets::Subscribers,
            _ => Targets::All(users, self.room()),
        };
        Notify { topic: self.workload.below(4) as u8, targets, by_tenant: self.workload.percent(50) }
    }
}
