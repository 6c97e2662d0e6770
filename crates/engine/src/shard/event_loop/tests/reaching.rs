//! What a handler reaches while it is called for one connection: that connection by its id, the others, and its shard.

use super::world::{Got, Scripted, World, each_seed};
use crate::{CloseCode, Endpoint, Message, Sent};
use ringway_codec::OpCode;
use std::sync::Arc;

#[test]
fn a_connection_that_is_reached_by_its_own_id_is_the_one_the_handler_is_called_for() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |_, conn, message| {
            let id = conn.id();
            *conn.state() += 1;
            let mut shard = conn.shard();
            assert_eq!(shard.connections(), 1);
            let mut same = shard.connection(id).expect("it is open");
            *same.state() += 1;
            assert!(!matches!(same.send(Message::text("before")), Sent::Full(_)));
            same.reply(message);
            assert!(!matches!(conn.send(Message::text("behind")), Sent::Full(_)));
            assert_eq!(*conn.state() % 2, 1, "both have counted on from 7");
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = world.open_client();
        let payloads = [20, 3000, 0, 100].map(|len| vec![7; len]);
        payloads.iter().for_each(|payload| client.send(OpCode::Binary, payload));
        world.settle();
        let around = |payload: Vec<u8>| [Got::text("before"), Got::Binary(payload), Got::text("behind")];
        assert!(client.take() == payloads.map(around).concat(), "seed {seed}");
        client.close(1000);
        world.settle();
        assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 15: 1000 Peer"), "seed {seed}");
    });
}

#[test]
fn the_way_through_another_connection_leads_back() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, message| {
            let own = conn.id();
            for other in handler.opened.iter().copied().filter(|id| *id != own) {
                let mut shard = conn.shard();
                let mut other = shard.connection(other).expect("nobody leaves");
                assert!(!matches!(other.send(Message::text("from another")), Sent::Full(_)));
                let mut shard = other.shard();
                let mut back = shard.connection(own).expect("it is open");
                assert!(!matches!(back.send(Message::text("by a detour")), Sent::Full(_)));
            }
            conn.reply(message);
        };
        let mut world = World::new(seed, faults, handler);
        let mut clients = [world.open_client(), world.open_client(), world.open_client()];
        clients[1].text("hello");
        world.settle();
        let detour = Got::text("by a detour");
        assert_eq!(clients[1].take(), [detour.clone(), detour, Got::text("hello")], "seed {seed}");
        for client in [0, 2] {
            assert_eq!(clients[client].take(), [Got::text("from another")], "seed {seed}");
        }
    });
}

#[test]
fn a_handler_may_close_its_own_connection_and_the_others_in_the_middle_of_a_message() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, message| {
            conn.reply(message);
            let own = conn.id();
            for id in &handler.opened {
                let mut shard = conn.shard();
                shard.connection(*id).expect("it is open").close(CloseCode::GOING_AWAY, "");
            }
            assert!(!conn.is_open() && conn.id() == own);
            assert!(matches!(conn.send(Message::text("too late")), Sent::Full(_)));
        };
        let mut world = World::new(seed, faults, handler);
        let mut clients = [world.open_client(), world.open_client()];
        (0..3).for_each(|_| clients[0].text("close"));
        world.settle();
        assert_eq!(clients[0].take(), [Got::text("close"), Got::Close(Some(1001))], "seed {seed}");
        assert_eq!(clients[1].take(), [Got::Close(Some(1001))], "seed {seed}");
        clients.iter().for_each(|client| client.close(1001));
        world.settle();
        world.assert_clean();
        assert_eq!(world.handler().log.iter().filter(|line| line.starts_with("closed")).count(), 2, "seed {seed}");
    });
}

#[test]
fn a_handler_may_connect_in_the_middle_of_a_message() {
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
        world.settle();
        assert_eq!(client.take(), [Got::text("go")], "seed {seed}");
        assert_eq!((world.sessions(), world.handler().opened.len()), (2, 2), "seed {seed}");
    });
}
