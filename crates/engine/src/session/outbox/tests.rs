use super::*;
use crate::config::Limits;
use ringway_codec::{Event, OpCode, Role, encode_client, encode_server};
use ringway_io::{BufferConfig, Pool};

fn memory() -> Memory {
    Memory::new(&Limits::default())
}

fn bytes(output: &Option<Output>) -> Vec<u8> {
    output.iter().flat_map(Output::chunks).flat_map(Chunk::as_slice).copied().collect()
}

fn shared(n: u8, len: usize) -> Arc<[u8]> {
    vec![n; len].into()
}

/// Takes all output, and checks the count of its bytes.
#[track_caller]
fn take(outbox: &mut Outbox, memory: &mut Memory) -> Vec<u8> {
    let output = outbox.take();
    let bytes = bytes(&output);
    assert_eq!(bytes.len(), outbox.bytes(), "the count is wrong");
    if let Some(output) = output {
        let len = output.len();
        outbox.complete(output, len, memory);
    }
    assert_eq!((outbox.bytes(), outbox.held(), outbox.is_empty(), memory.held()), (0, 0, true, 0));
    bytes
}

#[test]
fn an_outbox_is_small() {
    assert!(size_of::<Outbox>() <= 40, "{}", size_of::<Outbox>());
}

#[test]
fn short_frames_are_appended_to_one_buffer() {
    let (mut outbox, mut memory) = (Outbox::default(), memory());
    outbox.append(&mut memory, |out| out.extend_from_slice(b"one"));
    outbox.append(&mut memory, |out| out.extend_from_slice(b"two"));
    assert!(matches!(outbox.queue, OutputQueue::Ready(Some(Output::One(_)))));
    outbox.push_shared(&shared(7, COPY_MAX + 1), &mut memory);
    outbox.append(&mut memory, |out| out.extend_from_slice(b"three"));
    outbox.push_shared(&shared(8, 3), &mut memory);
    let OutputQueue::Ready(Some(Output::Many(chunks))) = &outbox.queue else { panic!("many") };
    assert_eq!(chunks.len(), 3);
    assert_eq!(take(&mut outbox, &mut memory), [&b"onetwo"[..], &[7; COPY_MAX + 1], b"three", &[8; 3]].concat());
}

#[test]
fn an_outbox_of_more_chunks_than_one_send_takes_shares_all_of_them() {
    const LEN: usize = COPY_MAX + 1;
    let (mut outbox, mut memory) = (Outbox::default(), memory());
    let frames: Vec<_> = (0..200).map(|n| shared(n, LEN)).collect();
    frames.iter().for_each(|frame| outbox.push_shared(frame, &mut memory));
    assert_eq!((outbox.held(), memory.held()), (0, 200 * LEN), "no byte is copied");
    let (mut sent, mut sends) = (Vec::<u8>::new(), 0);
    while let Some(output) = outbox.take() {
        assert!(output.chunks().count() <= Output::MAX_CHUNKS);
        let written = output.len() - output.len() / 3;
        sent.extend(output.chunks().flat_map(Chunk::as_slice).take(written));
        outbox.complete(output, written, &mut memory);
        assert_eq!(outbox.held(), 0, "the rest of a short send is not copied");
        sends += 1;
    }
    assert_eq!(sent, (0..200u8).flat_map(|n| [n; LEN]).collect::<Vec<_>>());
    assert!(sends > 4);
    assert_eq!((outbox.bytes(), memory.held()), (0, 0));
}

#[test]
fn a_part_of_shared_frames_is_copied_only_behind_other_output() {
    let (mut outbox, mut memory) = (Outbox::default(), memory());
    let frames: Arc<[u8]> = b"onetwothree".as_slice().into();
    outbox.push_range(&frames, 3..6, &mut memory);
    assert!(matches!(outbox.queue, OutputQueue::Ready(Some(Output::One(Chunk::Shared { .. })))), "{outbox:?}");
    assert_eq!((memory.held(), outbox.bytes()), (frames.len(), 3));
    outbox.push_range(&frames, 6..11, &mut memory);
    let OutputQueue::Ready(Some(Output::Many(chunks))) = &outbox.queue else { panic!("many") };
    assert!(matches!(chunks[..], [Chunk::Shared { .. }, Chunk::Owned { .. }]));
    assert_eq!(take(&mut outbox, &mut memory), b"twothree");
}

#[test]
fn the_rest_of_a_short_send_goes_first_and_is_still_counted() {
    for written in 0..=9 {
        let (mut outbox, mut memory) = (Outbox::default(), memory());
        outbox.append(&mut memory, |out| out.extend_from_slice(b"abc---def"));
        if let Some(output) = outbox.take() {
            memory.reclaim(output);
        }
        let chunks = vec![Chunk::from(b"abc".to_vec()), Chunk::from(shared(b'-', 3)), Chunk::from(b"def".to_vec())];
        // As if they had been queued.
        memory.discharge(outbox.held());
        outbox.held = chunks.iter().map(|chunk| memory.charge_chunk(chunk) / UNIT).sum::<usize>() as u32;
        outbox.append(&mut memory, |out| out.extend_from_slice(b"next"));
        assert_eq!(outbox.bytes(), 13);
        outbox.complete(Output::Many(chunks), written, &mut memory);
        assert_eq!(outbox.bytes(), 13 - written);
        assert_eq!(take(&mut outbox, &mut memory), [&b"abc---def"[written..], b"next"].concat());
    }
}

/// The handler's action for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Reply,
    Ignore,
    SendThenReply,
    ReplyThenSend,
    ReplyThenShare,
}

use Call::{Ignore, Reply, ReplyThenSend, ReplyThenShare, SendThenReply};

/// Decodes `messages` from one input, and performs the action of each. Returns the outbox and the
/// expected output. `packed`: a message moves behind the replies before it as it is decoded.
fn decode_as(
    packed: bool,
    messages: &[(usize, Call)],
    input_of: impl FnOnce(&[u8]) -> Input,
) -> (Outbox, Memory, Vec<u8>) {
    let (mut outbox, mut memory, mut decoder) = (Outbox::default(), memory(), Decoder::new(Role::Server));
    let large = shared(b'L', 3000);
    let (mut received, mut due) = (Vec::new(), Vec::new());
    for (n, &(len, call)) in messages.iter().enumerate() {
        let payload = vec![n as u8; len];
        encode_client(OpCode::Binary, &payload, [1, 2, 3, n as u8], &mut received);
        if call == SendThenReply {
            due.extend_from_slice(b"before");
        }
        if call != Ignore {
            encode_server(OpCode::Binary, &payload, &mut due);
        }
        match call {
            ReplyThenSend => due.extend_from_slice(b"behind"),
            ReplyThenShare => due.extend_from_slice(&large),
            _ => {}
        }
    }
    let mut input = input_of(&received);
    let (mut at, mut calls) = (0, messages.iter().map(|message| message.1));
    loop {
        let front = outbox.end_of_replies().filter(|_| packed);
        let event = decoder.next_behind(&mut memory.pool, &mut input, &mut at, front).expect("the frames are valid");
        let Some(event) = event else { break };
        let Event::Message(incoming) = event else { panic!("messages alone") };
        if let Some(front) = front {
            assert_eq!(incoming.range().start, front + if incoming.payload().len() > 125 { 4 } else { 2 });
        }
        let call = calls.next().expect("one for each message");
        if call == SendThenReply {
            outbox.append(&mut memory, |out| out.extend_from_slice(b"before"));
        }
        if call != Ignore {
            let len = incoming.payload().len();
            if outbox.takes_in_place(len) {
                outbox.reply_in_place(incoming, &mut memory);
            } else {
                outbox.append(&mut memory, |out| encode_server(OpCode::Binary, incoming.payload(), out));
            }
        }
        match call {
            ReplyThenSend => outbox.append(&mut memory, |out| out.extend_from_slice(b"behind")),
            ReplyThenShare => outbox.push_shared(&large, &mut memory),
            _ => {}
        }
        outbox.commit_reply(&mut input, &mut decoder, &mut memory);
    }
    outbox.finish_input(input, false, &mut memory);
    (outbox, memory, due)
}

fn decode(messages: &[(usize, Call)], input_of: impl FnOnce(&[u8]) -> Input) -> (Outbox, Memory, Vec<u8>) {
    decode_as(true, messages, input_of)
}

fn kept(bytes: &[u8]) -> Input {
    Input::Kept(bytes.to_vec())
}

#[test]
fn output_around_replies_is_sent_in_order() {
    let calls = [Reply, Ignore, SendThenReply, ReplyThenSend, ReplyThenShare];
    for (n, len) in [0, 20, 2000].into_iter().cycle().take(5 * 5 * 5 * 3).enumerate() {
        let pick = |place: usize| calls[n / 3 / 5usize.pow(place as u32) % 5];
        let messages = [(len, pick(0)), (20, pick(1)), (len, pick(2)), (len, Reply)];
        for packed in [false, true] {
            let (mut outbox, mut memory, due) = decode_as(packed, &messages, kept);
            assert!(take(&mut outbox, &mut memory) == due, "{messages:?}, {packed}");
        }
    }
}

fn pool_of_four() -> Pool {
    let buffers = BufferConfig::new().size(4096).and_then(|buffers| buffers.count(4)).expect("in range");
    Pool::new(&buffers).expect("in range")
}

#[test]
fn replies_without_other_output_are_sent_in_the_receive_buffer() {
    let buffers = pool_of_four();
    let (mut outbox, mut memory, due) =
        decode(&[(20, Reply); 16], |bytes| Input::Buffer(buffers.fill(bytes).expect("free")));
    assert!(matches!(outbox.queue, OutputQueue::Ready(Some(Output::One(Chunk::Buffer { .. })))), "{outbox:?}");
    assert_eq!((buffers.guarded(), outbox.bytes()), (1, due.len()));
    assert_eq!(take(&mut outbox, &mut memory), due);
    assert_eq!(buffers.guarded(), 0);
}

#[test]
fn replies_in_a_scarce_buffer_are_copied() {
    let buffers = pool_of_four();
    let others: Vec<_> = (0..3).map(|_| buffers.fill(b"x").expect("free")).collect();
    let (mut outbox, mut memory, due) =
        decode(&[(20, Reply); 3], |bytes| Input::Buffer(buffers.fill(bytes).expect("free")));
    assert_eq!(buffers.guarded(), others.len());
    assert_eq!(take(&mut outbox, &mut memory), due);
}

#[test]
fn a_long_reply_behind_other_output_keeps_its_buffer_and_a_short_one_is_copied() {
    let buffers = pool_of_four();
    for (len, guarded) in [(2000, 1), (20, 0)] {
        let input = |bytes: &[u8]| Input::Buffer(buffers.fill(bytes).expect("free"));
        let (mut outbox, mut memory, due) = decode(&[(len, SendThenReply)], input);
        assert_eq!(buffers.guarded(), guarded, "{len}");
        assert_eq!(take(&mut outbox, &mut memory), due);
    }
}

#[test]
fn the_reply_to_an_assembled_message_takes_its_buffer() {
    for behind in [false, true] {
        let (mut outbox, mut memory, mut decoder) = (Outbox::default(), memory(), Decoder::new(Role::Server));
        let (mut received, mut due) = (Vec::new(), Vec::new());
        for len in [3000, 20] {
            encode_client(OpCode::Binary, &vec![7; len], [9; 4], &mut received);
            encode_server(OpCode::Binary, &vec![7; len], &mut due);
            if behind {
                due.extend_from_slice(b"behind");
            }
        }
        for part in received.chunks(1000) {
            let (mut input, mut at) = (kept(part), 0);
            while let Some(event) = decoder.next(&mut memory.pool, &mut input, &mut at).expect("the frames are valid") {
                let Event::Message(incoming) = event else { panic!("messages alone") };
                assert!(outbox.takes_in_place(incoming.payload().len()) || incoming.payload().len() == 20);
                if outbox.takes_in_place(incoming.payload().len()) {
                    outbox.reply_in_place(incoming, &mut memory);
                } else {
                    outbox.append(&mut memory, |out| encode_server(OpCode::Binary, incoming.payload(), out));
                }
                if behind {
                    outbox.append(&mut memory, |out| out.extend_from_slice(b"behind"));
                }
                outbox.commit_reply(&mut input, &mut decoder, &mut memory);
            }
            outbox.finish_input(input, false, &mut memory);
        }
        assert!(take(&mut outbox, &mut memory) == due);
    }
}

#[test]
fn replies_are_copied_out_of_an_input_that_is_still_needed() {
    let (mut outbox, mut memory, mut decoder) = (Outbox::default(), memory(), Decoder::new(Role::Server));
    let mut received = Vec::new();
    encode_client(OpCode::Text, b"hello", [9; 4], &mut received);
    let mut at = 0;
    let event = decoder.next(&mut memory.pool, &mut received, &mut at).expect("in order");
    let Some(Event::Message(incoming)) = event else { panic!("a message") };
    outbox.reply_in_place(incoming, &mut memory);
    outbox.commit_reply(&mut received, &mut decoder, &mut memory);
    outbox.copy_replies(&received, None, &mut memory);
    assert_eq!(take(&mut outbox, &mut memory), b"\x81\x05hello");
}
