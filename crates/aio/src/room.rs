//! Waiting until a shard may accept a connection.

use crate::shard::RuntimeShard;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The place of one task in the queue of its shard. The task leaves the queue when this is dropped.
pub(crate) struct RoomWait {
    shard: Rc<RuntimeShard>,
    number: u64,
}

impl RoomWait {
    pub(crate) fn new(shard: Rc<RuntimeShard>) -> Self {
        let number = shard.room().number();
        Self { shard, number }
    }

    pub(crate) fn shard(&self) -> &Rc<RuntimeShard> {
        &self.shard
    }

    /// Waits until neither a limit nor the accept rate keeps the shard from accepting a connection.
    /// Ready after the end of the shard.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shard.may_accept() {
            self.shard.room().leave(self.number);
            return Poll::Ready(());
        }
        self.shard.room().enter(self.number, cx.waker());
        Poll::Pending
    }
}

impl Drop for RoomWait {
    fn drop(&mut self) {
        self.shard.room().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Acceptor, Config, Limits, configure};
    use ringway::{Admission, Rate};
    use std::future::{Future, poll_fn};
    use std::os::unix::net::UnixStream;

    #[test]
    fn only_futures_that_exist_wait_for_room_and_they_are_woken() {
        tokio_uring::start(async {
            let rate = Rate::per_second(20).burst(1);
            let admission = Admission::new().accept_rate(Some(rate)).expect("in range");
            configure(Config::default().admission(admission), Limits::default()).expect("the first");
            let shard = RuntimeShard::current().expect("it runs");
            let waiting = || shard.room().len();
            let mut peers = Vec::new();
            let mut accepting = || {
                let (ours, theirs) = UnixStream::pair().expect("descriptors");
                peers.push(theirs);
                Box::pin(async move { Acceptor::new().accept_socket(ours).await })
            };
            // The first one takes what the rate allows. Without a turn of the shard, no other follows.
            let mut first = accepting();
            let mut kept = [accepting(), accepting()];
            poll_fn(|cx| {
                assert!(first.as_mut().poll(cx).is_pending());
                assert_eq!(waiting(), 0);
                for kept in &mut kept {
                    assert!(kept.as_mut().poll(cx).is_pending());
                    assert!(kept.as_mut().poll(cx).is_pending());
                }
                for _ in 0..100 {
                    let mut dropped = accepting();
                    assert!(dropped.as_mut().poll(cx).is_pending());
                    assert_eq!(waiting(), 3);
                }
                assert_eq!(waiting(), 2);
                Poll::Ready(())
            })
            .await;
            // Both get room, and fail because their peers are gone.
            drop(peers);
            for kept in kept {
                kept.await.expect_err("the peer is gone");
            }
            assert_eq!(waiting(), 0);
        });
    }
}
