//! Slow opening handshakes, and deferred answers.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{Config, ConnectionId, Limits, Upgrade};
use ringway_codec::{OpCode, Role};
use ringway_io::sim::Faults;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_handshake_that_times_out_is_answered_408_and_lingers_for_a_bounded_time() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.peer.write(&REQUEST.as_bytes()[..60]);
        world.run_until_idle();
        world.pass(9 * SECOND);
        client.pull();
        assert_eq!(client.status(), 0, "seed {seed}");
        client.peer.write(&REQUEST.as_bytes()[60..70]);
        world.pass(2 * SECOND);
        client.pull();
        assert_eq!(client.status(), 408, "occasional bytes do not extend the timeout (seed {seed})");
        client.assert_finished();
        assert_eq!(world.sessions(), 1, "it lingers for bytes in flight (seed {seed})");
        client.peer.write(&REQUEST.as_bytes()[70..]);
        world.run_until_idle();
        world.pass(6 * SECOND);
        world.assert_clean();
        assert!(!client.peer.is_reset(), "seed {seed}");
        assert!(world.handler().log.is_empty(), "no connection was open (seed {seed})");
    });
}

#[test]
fn a_client_that_sends_nothing_is_closed() {
    let mut world = World::new(1, rough(), Scripted::new());
    let peer = world.network.connect();
    world.run_until_idle();
    world.pass(11 * SECOND);
    assert!(peer.is_finished());
    peer.finish();
    world.run_until_idle();
    world.assert_clean();
}

/// A shard that defers its answers, and a client whose request waits, followed by a frame.
fn deferring(seed: u64, faults: Faults) -> (World<Scripted>, WebSocketPeer, ConnectionId) {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, request| {
        handler.deferred.push(request.id());
        Upgrade::defer()
    };
    let mut world = World::new(seed, faults, handler);
    let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
    client.peer.write(&[REQUEST.as_bytes(), &client.frame(OpCode::Text, true, b"early")].concat());
    world.run_until_idle();
    client.pull();
    assert_eq!(client.head, "", "seed {seed}");
    let id = world.handler().deferred[0];
    (world, client, id)
}

#[test]
fn a_deferred_answer_can_come_from_another_thread_and_early_input_is_not_lost() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = deferring(seed, faults);
        client.text("not quite so early");
        world.pass(5 * SECOND);
        let handle = world.shard.control.handle.clone();
        let answering = thread::spawn(move || handle.post(move |_, shard| shard.answer(id, Upgrade::accept(9))));
        answering.join().expect("no panic").expect("the mailbox has room");
        world.run_until_idle();
        client.pull();
        assert_eq!(client.status(), 101, "seed {seed}");
        assert_eq!(client.take(), [Got::text("early"), Got::text("not quite so early")], "seed {seed}");
        world.pass(20 * SECOND);
        client.close(1000);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(1000))], "seed {seed}");
        let log = ["open", "message early", "message not quite so early", "closed 9: 1000 Peer"];
        assert_eq!(world.handler().take_log(), log, "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_deferred_answer_can_be_a_rejection() {
    let (mut world, mut client, id) = deferring(1, rough());
    world.post(move |_, shard| shard.answer(id, Upgrade::reject(crate::StatusCode::FORBIDDEN, "members only")));
    world.run_until_idle();
    client.pull();
    assert_eq!((client.status(), &*client.body()), (403, "members only\n"));
    client.peer.finish();
    world.run_until_idle();
    world.assert_clean();
}

#[test]
fn a_deferred_answer_after_the_408_or_a_second_one_has_no_effect() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = deferring(seed, faults);
        world.keep_turning(10 * SECOND);
        for _ in 0..3 {
            // While the 408 is being sent, while the connection lingers, and after its end.
            world.post(move |_, shard| shard.answer(id, Upgrade::accept(9)));
            world.run_until_idle();
            client.pull();
            assert_eq!(client.status(), 408, "seed {seed}");
            assert!(!client.body().contains("101"), "seed {seed}");
            world.pass(3 * SECOND);
        }
        assert!(world.handler().log.is_empty(), "seed {seed}");
        world.assert_clean();

        let (mut world, client, id) = deferring(seed, faults);
        for state in [9, 10] {
            world.post(move |_, shard| shard.answer(id, Upgrade::accept(state)));
        }
        client.close(1000);
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "message early", "closed 9: 1000 Peer"], "seed {seed}");
    });
}

#[test]
fn a_peer_that_ends_its_direction_before_a_deferred_answer_still_receives_it() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_upgrade = |handler, request| {
            handler.deferred.push(request.id());
            Upgrade::defer()
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.peer.write(&[REQUEST.as_bytes(), &client.frame(OpCode::Text, true, b"early")].concat());
        client.peer.finish();
        world.run_until_idle();
        let id = world.handler().deferred[0];
        world.post(move |_, shard| shard.answer(id, Upgrade::accept(9)));
        world.run_until_idle();
        client.pull();
        assert_eq!(client.status(), 101, "seed {seed}");
        assert_eq!(client.take(), [Got::text("early")], "seed {seed}");
        assert_eq!(world.handler().take_log(), ["open", "message early", "closed 9: 1006 Vanished"], "seed {seed}");
        world.assert_clean();
    });
}

/// The shard's whole response to these bytes.
fn answer_to(request: &str) -> String {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let peer = world.network.connect();
    peer.write(request.as_bytes());
    world.run_until_idle();
    let answer = String::from_utf8(peer.read()).expect("ASCII");
    peer.finish();
    world.run_until_idle();
    world.assert_clean();
    answer
}

#[test]
fn rfc9110_9_3_2_head_is_answered_as_get_without_the_body() {
    let get = answer_to("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let head = answer_to("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get.starts_with(&head) && get.len() > head.len(), "{get}");
    let refused = answer_to("HEAD / HTTP/1.1\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 400") && refused.ends_with("\r\n\r\n"), "{refused}");
}

#[test]
fn rfc9112_3_2_a_plain_request_has_exactly_one_host() {
    for request in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"] {
        assert!(answer_to(request).starts_with("HTTP/1.1 400"), "{request}");
    }
    assert!(answer_to("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_request_for_a_websocket_needs_a_path() {
    let answer = answer_to(&REQUEST.replacen("GET /chat", "GET *", 1));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn a_deferred_answer_chooses_from_the_configured_subprotocols() {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, request| {
        handler.deferred.push(request.id());
        Upgrade::defer()
    };
    let config = crate::Config { subprotocols: vec!["chat".into()], ..crate::Config::default() };
    let mut world = World::with(1, Faults::none(), config, crate::Limits::default(), handler);
    let peer = world.network.connect();
    peer.write(REQUEST.replacen("\r\n\r\n", "\r\nSec-WebSocket-Protocol: soap, chat\r\n\r\n", 1).as_bytes());
    world.run_until_idle();
    let id = world.handler().deferred[0];
    world.post(move |_, shard| shard.answer(id, Upgrade::accept(9)));
    world.run_until_idle();
    let answer = String::from_utf8(peer.read()).expect("ASCII");
    assert!(answer.contains("Sec-WebSocket-Protocol: chat\r\n"), "{answer}");
}

#[test]
fn the_selected_subprotocol_is_available_in_open() {
    let mut handler = Scripted::new();
    handler.on_open = |handler, conn| handler.log.push(format!("{:?}", conn.subprotocol()));
    let config = Config { subprotocols: vec!["chat".to_owned()], ..Config::default() };
    let mut world = World::with(1, rough(), config, Limits::default(), handler);
    let with = "\r\nSec-WebSocket-Protocol: news, chat\r\n\r\n";
    for request in [REQUEST.replace("\r\n\r\n", with), REQUEST.to_owned()] {
        let client = WebSocketPeer::new(world.network.connect(), ringway_codec::Role::Client);
        client.peer.write(request.as_bytes());
        world.run_until_idle();
    }
    assert_eq!(world.handler().take_log(), ["open", r#"Some("chat")"#, "open", "None"]);
}

/// Neither `Default` nor `Debug`, and dropped with the connection.
struct Token(Rc<()>);

struct Holding(Rc<()>);

impl crate::Handler for Holding {
    type State = Token;

    fn upgrade(&mut self, _: &crate::Request<'_>) -> Upgrade<Token> {
        Upgrade::accept(Token(Rc::clone(&self.0)))
    }

    fn message(&mut self, conn: &mut crate::Connection<'_, Self>, message: crate::Message<'_>) {
        assert_eq!(Rc::strong_count(&conn.state().0), 2);
        conn.reply(message);
    }
}

#[test]
fn the_state_is_made_by_the_upgrade_and_needs_no_default() {
    let mut world = World::new(1, rough(), Holding(Rc::new(())));
    let early = world.client();
    early.peer.finish();
    let mut client = world.open_client();
    client.text("counted");
    client.close(1000);
    world.run_until_idle();
    assert_eq!(client.take(), [Got::text("counted"), Got::Close(Some(1000))]);
    assert_eq!(Rc::strong_count(&world.handler().0), 1);
    world.assert_clean();
}
