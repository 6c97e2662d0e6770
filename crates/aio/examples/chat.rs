//! A chat: the first message of a client is its name, and each further line is sent to all others. One
//! runtime, so that the clients are in a table without a lock.
//!
//! ```sh
//! cargo run -p ringway-aio --example aio-chat -- 127.0.0.1:9001
//! ringway connect ws://127.0.0.1:9001/
//! ```

use ringway_aio::{CloseCode, Error, Listener, Sender, TrySendError, WebSocket};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The sending halves of all clients, by name.
type Room = Rc<RefCell<BTreeMap<String, Sender>>>;

/// Sends a line to all clients but one. A client that reads too slowly misses it.
fn publish(room: &Room, line: &str, except: &str) {
    for (name, client) in room.borrow_mut().iter_mut().filter(|(name, _)| *name != except) {
        match client.try_send(line) {
            Ok(()) | Err(TrySendError::Failed(..)) => {}
            Err(TrySendError::Full(_)) => eprintln!("{name} reads too slowly, and misses a line"),
        }
    }
}

async fn talk(room: Room, ws: WebSocket) {
    let (mut sender, mut receiver) = ws.split();
    let Some(Ok(first)) = receiver.next().await else { return };
    let name = first.as_text().unwrap_or_default().to_owned();
    if name.is_empty() || room.borrow().contains_key(&name) {
        let _ = sender.close(CloseCode::POLICY, "this name is taken, or empty").await;
        return;
    }
    room.borrow_mut().insert(name.clone(), sender);
    publish(&room, &format!("{name} has joined"), &name);
    while let Some(Ok(message)) = receiver.next().await {
        if let Some(text) = message.as_text() {
            publish(&room, &format!("{name}: {text}"), &name);
        }
    }
    room.borrow_mut().remove(&name);
    publish(&room, &format!("{name} has left"), &name);
}

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    tokio_uring::start(async {
        let room = Room::default();
        let mut listener = Listener::bind(address.as_str())?;
        println!("listening on {}", listener.local_addr());
        loop {
            let ws = listener.accept().await?;
            tokio_uring::spawn(talk(Rc::clone(&room), ws));
        }
    })
}
