//! Messages without the protocol of WebSockets: a datagram is one, and the echoes of a stream are split
//! into them. They come back in order, and the length of each follows from its number.

use super::Conn;
use super::context::Context;
use super::crew::Crew;
use crate::plan::Transport;
use ringway::{Message, MessageKind};

impl Crew {
    /// Handles what was received without the protocol of WebSockets.
    #[inline(never)]
    pub(super) fn plain_input(&mut self, cx: &mut Context, conn: &mut Conn<'_>, bytes: &[u8]) {
        match self.transport {
            Transport::Tcp => self.stream_input(cx, conn, bytes),
            Transport::Udp | Transport::WebSocket => self.plain_message(cx, conn, bytes),
        }
    }

    /// Handles received bytes of a stream: each whole message among them.
    fn stream_input(&mut self, cx: &mut Context, conn: &mut Conn<'_>, bytes: &[u8]) {
        let place = conn.state().place;
        let mut partial = self.partials.remove(&place).unwrap_or_default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let line = conn.state();
            let (salt, number) = (line.salt, line.next);
            if !line.window.has_sent(number) {
                // More than was sent: it answers nothing.
                return self.plain_message(cx, conn, rest);
            }
            let needed = self.source.len(salt, number) - partial.len();
            if rest.len() < needed {
                partial.extend_from_slice(rest);
                break;
            }
            let (head, behind) = rest.split_at(needed);
            rest = behind;
            line.next = number.wrapping_add(1);
            self.known = Some(number);
            if partial.is_empty() {
                self.plain_message(cx, conn, head);
            } else {
                partial.extend_from_slice(head);
                self.plain_message(cx, conn, &partial);
                partial.clear();
            }
        }
        if !partial.is_empty() {
            self.partials.insert(place, partial);
        }
    }

    /// Handles a message. It has no kind of its own: it has the expected one, if it can have it.
    fn plain_message(&mut self, cx: &mut Context, conn: &mut Conn<'_>, bytes: &[u8]) {
        let text = (self.source.kind() == MessageKind::Text).then(|| std::str::from_utf8(bytes));
        let message = match text {
            Some(Ok(text)) => Message::text(text),
            Some(Err(_)) | None => Message::binary(bytes),
        };
        self.other_message(cx, conn, &message);
        self.known = None;
    }
}
