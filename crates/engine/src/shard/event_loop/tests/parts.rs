//! Messages of several frames that are received, and messages of two parts that are sent.

use super::world::{Got, Scripted, WebSocketPeer, World, each_seed};
use crate::{Config, Deflate, Endpoint, Limits, Message, SendOutcome};
use ringway_codec::OpCode;
use ringway_io::sim::Faults;
use std::sync::Arc;

/// A client that logs whether each message was fragmented.
fn noticing(seed: u64, faults: Faults) -> World<Scripted> {
    let mut handler = Scripted::new();
    handler.on_message = |handler, conn, message| {
        handler.log.push(format!("fragmented: {}", message.is_fragmented()));
        if message.payload() == b"pause" {
            conn.pause();
        }
    };
    World::new(seed, faults, handler)
}

fn fragments(peer: &WebSocketPeer) -> Vec<u8> {
    let frames = [(OpCode::Text, false, "frag"), (OpCode::Continuation, false, ""), (OpCode::Continuation, true, "s")];
    frames.map(|(opcode, fin, text)| peer.frame(opcode, fin, text.as_bytes())).concat()
}

#[test]
fn a_message_in_several_frames_is_fragmented_and_one_in_several_buffers_is_not() {
    each_seed(|seed, faults| {
        let mut world = noticing(seed, faults);
        let client = world.open_client();
        world.handler().take_log();
        // Each buffer has 1024 bytes.
        client.text(&"a".repeat(5000));
        client.write(&fragments(&client));
        client.text("whole");
        world.run_until_idle();
        let log = [
            "message of 5000 bytes",
            "fragmented: false",
            "message frags",
            "fragmented: true",
            "message whole",
            "fragmented: false",
        ];
        assert_eq!(world.handler().take_log(), log, "seed {seed}");
    });
}

#[test]
fn a_message_that_waited_for_a_resume_is_still_fragmented() {
    each_seed(|seed, faults| {
        let mut world = noticing(seed, faults);
        let client = world.open_client();
        client.text("pause");
        client.write(&fragments(&client));
        client.text("whole");
        world.run_until_idle();
        world.handler().take_log();
        let id = world.handler().opened[0];
        world.post(move |_, shard| shard.connection(id).expect("open").resume());
        world.run_until_idle();
        let log = ["message frags", "fragmented: true", "message whole", "fragmented: false"];
        assert_eq!(world.handler().take_log(), log, "seed {seed}");
    });
}

#[test]
fn the_parts_of_a_message_are_sent_as_one_frame_in_both_roles() {
    const BODY: &str = "body";
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_open = |_, conn| {
            for head in ["", "1", "00000002"] {
                let long = BODY.repeat(1000);
                assert!(conn.send(Message::text_parts(head, BODY)).is_accepted());
                assert!(conn.send(Message::binary_parts(head.as_bytes(), long.as_bytes())).is_accepted());
                conn.reply(Message::text_parts(head, "reply"));
            }
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = world.open_client();
        let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
        world.post(move |_, shard| shard.connect(&endpoint, 1));
        let mut server = world.server();
        server.accept();
        world.run_until_idle();
        let expected: Vec<Got> = ["", "1", "00000002"]
            .into_iter()
            .flat_map(|head| {
                let long = format!("{head}{}", BODY.repeat(1000)).into_bytes();
                [Got::text(&format!("{head}{BODY}")), Got::Binary(long), Got::text(&format!("{head}reply"))]
            })
            .collect();
        assert_eq!(client.take(), expected, "seed {seed}");
        // The decoder of a server refuses a frame that is not masked.
        assert_eq!(server.take(), expected, "seed {seed}");
    });
}

#[test]
fn the_parts_of_a_message_are_compressed_together() {
    let mut handler = Scripted::new();
    handler.on_open = |_, conn| {
        let body = "body".repeat(100);
        assert!(conn.is_compressing());
        assert!(conn.send(Message::text_parts("00000001", &body)).is_accepted());
        assert!(conn.send(Message::text_parts("00000002", &body).compress(false)).is_accepted());
    };
    let deflate = Deflate::shared();
    let config = Config::default().deflate(Some(deflate));
    let mut world = World::with(0, Faults::none(), config, Limits::default(), handler);
    let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
    world.post(move |_, shard| shard.connect(&endpoint, 1));
    let mut server = world.server();
    let (request, _) = ringway_codec::parse_request(server.head.as_bytes(), &ringway_codec::HeadLimits::default())
        .expect("valid")
        .expect("complete");
    let params = deflate.policy().choose(&request.extensions().expect("valid")).expect("it is offered");
    server.inflate(&params);
    server.write(&server.accepting_with(Some(&params)));
    world.run_until_idle();
    let body = "body".repeat(100);
    assert_eq!(server.take(), [Got::text(&format!("00000001{body}")), Got::text(&format!("00000002{body}"))]);
    assert_eq!(server.compressed, 1);
}

#[test]
fn both_parts_count_towards_the_limit_of_the_queue() {
    let mut handler = Scripted::new();
    handler.on_open = |handler, conn| {
        let (head, body) = ([1; 600], [2; 600]);
        let first = conn.send(Message::binary_parts(&head, &body));
        assert!(first.is_accepted(), "an empty queue takes any message");
        let outcome = conn.send(Message::binary_parts(&head, &body));
        let SendOutcome::Full(message) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((message.head(), message.payload()), (&head[..], &body[..]));
        handler.log.push(format!("{} bytes wait", conn.buffered_amount()));
    };
    let limits = Limits::default().max_buffered(1200 + 700).expect("in range");
    let mut world = World::with(0, Faults::none(), Config::default(), limits, handler);
    world.open_client();
    assert_eq!(world.handler().take_log()[1..], [format!("{} bytes wait", 129 + 4 + 1200), "drained".to_owned()]);
}
