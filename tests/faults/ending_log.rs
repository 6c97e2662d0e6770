//! A record of how the connections of a server ended.

use ringway::{CloseReason, Connection, Ending, Handler, Message, Request, Shard, Upgrade};

/// A handler that echoes, and records how connections ended.
#[derive(Default)]
pub(crate) struct EndingLog {
    /// The close code and the kind of each ending.
    pub(crate) endings: Vec<String>,
}

impl EndingLog {
    /// The number of connections that the idle timeout has ended.
    pub(crate) fn idle(&self) -> usize {
        self.endings.iter().filter(|ending| ending.ends_with(" idle")).count()
    }
}

impl Handler for EndingLog {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        let ending = match &reason.ending {
            Ending::Peer => "peer",
            Ending::Local => "local",
            Ending::Unanswered => "unanswered",
            Ending::Violation(_) => "violation",
            Ending::Idle => "idle",
            Ending::Vanished => "vanished",
            Ending::Reset => "reset",
            Ending::WriteTimeout => "write timeout",
            Ending::MessageTimeout => "message timeout",
            Ending::MemoryLimit => "memory limit",
            Ending::Panicked => "panicked",
            Ending::Terminated => "terminated",
            _ => "failed",
        };
        self.endings.push(format!("{} {ending}", reason.code));
    }
}
