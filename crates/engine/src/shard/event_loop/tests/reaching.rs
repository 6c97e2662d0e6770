//! Access to connections during a call of the handler: the current one by its id, the others, and
//! the shard.

use super::world::{Got, Scripted, World, each_seed};
use crate::{CloseCode, Endpoint, Message, SendOutcome};
use ringway_codec::OpCode;
use std::sync::Arc;

#[test]
fn the_id_of_the_current_connection_finds_the_current_connection() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |_, conn, message| {
            let id = conn.id();
            *conn.state() += 1;
            let mut shard = conn.shard();
            assert_eq!(shard.connection_count(), 1);
            let mut same = shard.connection(id).expect("it is open");
            *same.state() += 1;
            assert!(same.send(Message::text("before")).is_accepted());
            same.reply(message);
            assert!(conn.send(Message::text("behind")).is_accepted());
            assert_eq!(*conn.state() % 2, 1, "both increment from 7");
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = world.open_client();
        let payloads = [20, 3000, 0, 100].map(|len| vec![7; len]);
        payloads.iter().for_each(|payload| client.send(OpCode::Binary, payload));
        world.run_until_idle();
        let around = |payload: Vec<u8>| [Got::text("before"), Got::Binary(payload), Got::text("behind")];
        assert!(client.take() == payloads.map(around).concat(), "seed {seed}");
        client.close(1000);
        world.run_until_idle();
        assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 15: 1000 Peer"), "seed {seed}");
    });
}

#[test]
fn the_current_connection_is_reachable_through_another_one() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, message| {
            let own = conn.id();
            for other in handler.opened.iter().copied().filter(|id| *id != own) {
                let mut shard = conn.shard();
                let mut other = shard.connection(other).expect("all connections stay open");
                assert!(other.send(Message::text("from another")).is_accepted());
                let mut shard = other.shard();
                let mut back = shard.connection(own).expect("it is open");
                assert!(back.send(Message::text("by a detour")).is_accepted());
            }
            conn.reply(message);
        };
        let mut world = World::new(seed, faults, handler);
        let mut clients = [world.open_client(), world.open_client(), world.open_client()];
        clients[1].text("hello");
        world.run_until_idle();
        let detour = Got::text("by a detour");
        assert_eq!(clients[1].take(), [detour.clone(), detour, Got::text("hello")], "seed {seed}");
        for client in [0, 2] {
            assert_eq!(clients[client].take(), [Got::text("from another")], "seed {seed}");
        }
    });
}

#[test]
fn a_handler_can_close_its_own_connection_and_others_during_a_message() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, message| {
            conn.reply(message);
            let own = conn.id();
            for id in &handler.opened {
                let mut shard = conn.shard();
                shard
                    .connection(*id)
                    .expect("the connection is open")
                    .close(CloseCode::GOING_AWAY, "")
                    .expect("sendable");
            }
            assert!(!conn.is_open() && conn.id() == own);
            assert!(matches!(conn.send(Message::text("too late")), SendOutcome::Closed(_)));
        };
        let mut world = World::new(seed, faults, handler);
        let mut clients = [world.open_client(), world.open_client()];
        (0..3).for_each(|_| clients[0].text("close"));
        world.run_until_idle();
        assert_eq!(clients[0].take(), [Got::text("close"), Got::Close(Some(1001))], "seed {seed}");
        assert_eq!(clients[1].take(), [Got::Close(Some(1001))], "seed {seed}");
        clients.iter().for_each(|client| client.close(1001));
        world.run_until_idle();
        world.assert_clean();
        assert_eq!(world.handler().log.iter().filter(|line| line.starts_with("closed")).count(), 2, "seed {seed}");
    });
}

#[test]
fn a_handler_can_connect_during_a_message() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |_, conn, message| {
            let endpoint = Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address");
            conn.shard().connect(&Arc::new(endpoint), 40);
            conn.reply(message);
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = world.open_client();
        client.text("go");
        let server = world.server();
        server.accept();
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text("go")], "seed {seed}");
        assert_eq!((world.sessions(), world.handler().opened.len()), (2, 2), "seed {seed}");
    });
}

#[test]
fn for_each_connection_visits_each_open_connection_once_and_can_change_all() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, message| {
            let own = conn.id();
            let mut visited = Vec::new();
            conn.shard().for_each_connection(|conn| {
                assert!(conn.is_open());
                visited.push(conn.id());
                *conn.state() += 1;
                assert!(conn.send(Message::text("to all")).is_accepted());
                // Connections closed before they are reached are skipped.
                for id in &handler.opened[3..] {
                    conn.shard()
                        .connection(*id)
                        .expect("the connection is open")
                        .close(CloseCode::NORMAL, "")
                        .expect("sendable");
                }
            });
            assert_eq!((visited.len(), visited[0]), (3, own));
            assert!(handler.opened[..3].iter().all(|id| visited.contains(id)), "{visited:?}");
            conn.reply(message);
        };
        let mut world = World::new(seed, faults, handler);
        let mut clients: Vec<_> = (0..5).map(|_| world.open_client()).collect();
        // Clients open in turn, so the first is the first that was reported.
        let _handshaking = world.network.connect();
        clients[1].text("walk");
        world.run_until_idle();
        assert_eq!(clients[1].take(), [Got::text("to all"), Got::text("walk")], "seed {seed}");
        for client in [0, 2] {
            assert_eq!(clients[client].take(), [Got::text("to all")], "seed {seed}");
        }
        for client in [3, 4] {
            assert_eq!(clients[client].take(), [Got::Close(Some(1000))], "seed {seed}");
        }
        let count = world.sessions();
        world.post(move |_, shard| {
            let mut states = Vec::new();
            shard.for_each_connection(|conn| states.push(*conn.state()));
            assert_eq!((states, shard.connection_count()), (vec![8; 3], count));
        });
        world.run_until_idle();
    });
}

#[test]
fn a_code_that_must_not_be_sent_is_an_error_and_the_connection_stays_open() {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        for code in [CloseCode::ABNORMAL, CloseCode::TLS, CloseCode::new(999), CloseCode::new(5000)] {
            let error = conn.close(code, "").expect_err("it must not be sent");
            assert_eq!(error, crate::CodeNotSendable(code));
        }
        assert!(conn.is_open());
        conn.reply(message);
    };
    let mut world = World::new(0, ringway_io::sim::Faults::none(), handler);
    let mut client = world.open_client();
    client.text("close");
    world.run_until_idle();
    assert_eq!(client.take(), [Got::text("close")]);
}
