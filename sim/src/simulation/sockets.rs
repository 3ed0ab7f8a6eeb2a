//! What sockets take of what waits for them.

use std::collections::VecDeque;

use chatapi_core::ws::parse_client_frame;
use chatapi_core::{ConnId, Input};

use super::{Phase, Simulation};
use crate::action::Peer;
use crate::invariant::{Checked, ensure};

const PING: &str = r#"{"type":"ping"}"#;

impl Simulation {
    pub(super) fn pick_link(&self, pick: u16) -> Option<ConnId> {
        let count = self.links.len();
        self.links.keys().nth(usize::from(pick) % count.max(1)).copied()
    }

    pub(super) fn flush_all(&mut self) -> Checked {
        let queued: Vec<ConnId> = self
            .links
            .iter()
            .filter(|(_, link)| link.peer != Peer::Stalls && (link.has_queued() || link.closed.is_some()))
            .map(|(conn, _)| *conn)
            .collect();
        let mut queued: VecDeque<ConnId> = queued.into();
        while let Some(conn) = queued.pop_front() {
            self.flush(conn, usize::MAX)?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, conn: ConnId, count: usize) -> Checked {
        let now = self.now().mono;
        let Some(link) = self.links.get_mut(&conn) else {
            return Ok(());
        };
        let inputs = link.flush(count, now);
        let is_over = link.closed.is_some();
        for input in inputs {
            self.input(input)?;
        }
        if is_over {
            // What the peer had sent by then comes in all the same, and finds nobody. (Any input may end a shutdown.)
            let is_running = self.process.as_ref().is_some_and(|process| process.phase == Phase::Running);
            for late in [Input::Heard { conn }, Input::Frame { conn, frame: Box::new(parse_client_frame(PING)) }] {
                self.effects_of_last_input = 0;
                self.input(late)?;
                ensure!(
                    self.effects_of_last_input == 0 || !is_running,
                    OperationsOnce,
                    "{conn:?} is closed, and a frame of it still had an effect"
                );
            }
            self.links.remove(&conn);
            return self.input(Input::Closed { conn, by: chatapi_core::ClosedBy::Server });
        }
        Ok(())
    }

    pub(super) fn tenant_key(&self, tenant: u8) -> Option<chatapi_core::TenantKey> {
        self.model.tenant_key(tenant)
    }
}
