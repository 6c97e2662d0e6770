//! Looks up the server's name before another attempt to connect, as a server can have moved meanwhile.
//! A look-up can take seconds, and the shard never waits, so that each has a thread.

use ringway::{ConnectError, Endpoint, Handler, PostError, Shard, ShardHandle};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The delay before another attempt to hand over a result that the shard has no room for.
const HAND_OVER_AGAIN: Duration = Duration::from_millis(20);

/// What the shard does with the result.
pub(super) type LookedUp<H> = fn(&mut H, &mut Shard<'_, H>, Result<Endpoint, ConnectError>);

/// Begins a look-up, which ends with a call of `looked_up`. There is one at a time: the next attempt
/// follows its result.
pub(super) fn look_up<H: Handler>(endpoint: &Arc<Endpoint>, handle: ShardHandle<H>, looked_up: LookedUp<H>) {
    let (known, of_thread) = (Arc::clone(endpoint), handle.clone());
    let started = std::thread::Builder::new().name("ringway-lookup".into()).spawn(move || {
        let result = Arc::new(Mutex::new(Some(known.resolved_again())));
        loop {
            let result = Arc::clone(&result);
            let posted = of_thread.post(move |handler, shard| {
                let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(result) = result {
                    looked_up(handler, shard, result);
                }
            });
            match posted {
                Err(PostError::Full) => std::thread::sleep(HAND_OVER_AGAIN),
                // It has ended meanwhile.
                Ok(()) | Err(_) => return,
            }
        }
    });
    if started.is_err() {
        // Without a thread, the addresses are those of before.
        let known = Endpoint::clone(endpoint);
        let _ = handle.post(move |handler, shard| looked_up(handler, shard, Ok(known)));
    }
}
