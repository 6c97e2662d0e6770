//! What a session tells its application: the seam between the protocol and whoever serves the connection.

use super::link::Link;
use super::opening::RequestHandler;
use crate::api::message::Message;
use crate::shard::core::Core;

/// The application as a session sees it. A call may change everything of the connection but what is being decoded: that
/// is what [`Link`] leaves out.
pub(crate) trait Application<S>: RequestHandler<S> {
    /// The opening handshake is done.
    fn open(&mut self, link: &mut Link<S>, core: &mut Core);

    /// A message has come.
    fn message(&mut self, link: &mut Link<S>, core: &mut Core, message: Message<'_>);

    /// A ping has come; it is answered.
    fn ping(&mut self, link: &mut Link<S>, core: &mut Core, payload: &[u8]);

    /// A pong has come.
    fn pong(&mut self, link: &mut Link<S>, core: &mut Core, payload: &[u8]);

    /// All output is sent, after some of it had to wait.
    fn drained(&mut self, link: &mut Link<S>, core: &mut Core);
}
