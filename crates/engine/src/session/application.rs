//! What a session tells its application: the seam between the protocol and whoever serves the connection.

use super::link::Link;
use crate::api::message::Message;
use crate::api::response::{Response, Upgrade};
use crate::shard::core::Core;
use ringway_io::Slot;

/// The application as a session sees it. A call may change everything of the connection but what is being decoded: that
/// is what [`Link`] leaves out.
pub(crate) trait Application<S> {
    /// A request for a WebSocket, in order, on a connection that is not open yet.
    fn upgrade(&mut self, slot: Slot, request: &ringway_codec::Request<'_>) -> Upgrade<S>;

    /// A plain HTTP request.
    fn request(&mut self, slot: Slot, request: &ringway_codec::Request<'_>) -> Response;

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
