//! The interface between a session and the application that serves it.

use super::link::Link;
use super::opening::RequestHandler;
use crate::api::message::Message;
use crate::shard::core::Core;

/// The application of a session. A call can change the whole connection except for the decoder,
/// which is not part of [`Link`].
pub(crate) trait Application<S>: RequestHandler<S> {
    /// An outgoing connection is established and held. Returns whether it continues: the handler
    /// has not panicked.
    fn connected(&mut self, link: &mut Link<S>, core: &mut Core) -> bool;

    /// The opening handshake is complete.
    fn open(&mut self, link: &mut Link<S>, core: &mut Core);

    /// A message was received.
    fn message(&mut self, link: &mut Link<S>, core: &mut Core, message: Message<'_>);

    /// The peer has violated the protocol. Returns whether that is handled when the connection is
    /// resumed.
    fn postpones_violation(&mut self, link: &mut Link<S>, core: &mut Core) -> bool {
        let _ = (link, core);
        false
    }

    /// A ping was received; its pong is queued.
    fn ping(&mut self, link: &mut Link<S>, core: &mut Core, payload: &[u8]);

    /// A pong was received.
    fn pong(&mut self, link: &mut Link<S>, core: &mut Core, payload: &[u8]);

    /// All output was given to the kernel, after some of it was queued.
    fn drained(&mut self, link: &mut Link<S>, core: &mut Core);
}
