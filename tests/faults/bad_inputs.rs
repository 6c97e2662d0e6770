//! Each bad input has its answer, frees its slot, and does not affect other connections.

use crate::config;
use ringway_tests::bad_input::{self, BadInput};
use ringway_tests::{Echo, TestServer, WirePeer};

fn server() -> TestServer<Echo> {
    TestServer::start(config(), bad_input::limits(), |_| Echo)
}

fn check(name: &str) {
    let input = bad_input::all().into_iter().find(|input| input.name == name).expect("the list has it");
    let server = server();
    let mut other = WirePeer::open(server.address());
    let mut peer = WirePeer::connect(server.address());
    input.perform(&mut peer);
    drop(peer);
    server.wait_until("only the other one is left", |_, shard| shard.connection_count() == 1);
    other.expect_echo("still served");
    drop(other);
    server.wait_until_empty();
}

/// A test for each input, and one that checks that each input has a test.
macro_rules! each {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_bad_input_has_its_test() {
            let mut tested = vec![$(stringify!($name).to_owned()),*];
            let mut all: Vec<String> = bad_input::all().into_iter().map(|input| input.name).collect();
            tested.sort();
            all.sort();
            assert_eq!(tested, all);
        }
    };
}

each! {
    request_line_of_100_kb request_line_without_end ten_thousand_headers head_over_the_limit header_without_end
    version_8 draft_76 version_missing key_missing key_twice key_of_15_bytes key_that_is_no_base64 method_post host_missing
    host_twice host_empty host_with_a_path host_with_a_bad_port target_without_a_slash target_with_a_fragment
    target_that_is_an_authority target_that_is_an_asterisk target_without_a_host connection_missing http_1_0 http_2_0 body tls_client_hello zeros high_bytes http_2_preface
    space_in_header_name

    rsv1 rsv2 rsv3 rsv1_of_a_ping fragmented_ping fragmented_close ping_of_126_bytes close_of_126_bytes
    continuation_without_a_start continuation_after_a_whole_message text_inside_a_message binary_inside_a_message
    unmasked_text unmasked_ping unmasked_close length_of_16_bits_for_125 length_of_64_bits_for_65535
    length_with_bit_63 length_of_all_ones opcode_3 opcode_4 opcode_5 opcode_6 opcode_7 opcode_11 opcode_12 opcode_13
    opcode_14 opcode_15

    promise_of_2_62_bytes promise_of_2_63_less_1_bytes message_over_the_limit fragments_over_the_limit
    endless_empty_fragments text_of_a_lone_continuation_byte text_of_an_overlong_form text_of_a_surrogate
    text_beyond_unicode text_that_ends_in_a_character invalid_text_in_the_second_fragment_before_the_end
    invalid_text_before_the_end_of_its_frame text_whose_last_fragment_ends_in_a_character

    close_code_0 close_code_999 close_code_1004 close_code_1005 close_code_1006 close_code_1015 close_code_1016
    close_code_2999 close_code_5000 close_code_65535 close_of_1_byte close_with_a_reason_that_is_no_text
}

/// A peer in the middle of a large message does not read until it has written it. The server must
/// neither refuse the rest nor reset the connection, which would destroy the answer.
#[test]
fn the_answer_survives_bytes_that_still_arrive() {
    let server = server();
    let more = vec![0x82; 2 << 20];
    for input in bad_input::all() {
        let mut peer = WirePeer::connect(server.address());
        input.perform_with(&mut peer, |peer, bytes| {
            peer.write(bytes);
            peer.write(&more);
        });
    }
    server.wait_until_empty();
}

/// A violation does not depend on how the bytes are cut.
#[test]
fn every_short_bad_input_has_the_same_answer_byte_by_byte() {
    let server = server();
    let short = |input: &BadInput| input.bytes().len() < 300;
    for input in bad_input::all().into_iter().filter(short) {
        let mut peer = WirePeer::connect(server.address());
        // The answer may arrive before the last byte is written, which is not an error while the
        // server still reads.
        input.perform_with(&mut peer, |peer, bytes| peer.write_byte_by_byte(bytes));
    }
    server.wait_until_empty();
}

/// The violation follows a valid message in the same segment: the message is answered first.
#[test]
fn a_message_before_the_violation_is_answered() {
    use ringway_tests::{End, Frame, Received};
    let server = server();
    let mut peer = WirePeer::open(server.address());
    peer.write([Frame::text("fine").bytes(), Frame::ping("p").bytes(), Frame::text("bad").bits(0x20).bytes()].concat());
    assert_eq!(peer.frame(), Received::text("fine"));
    assert_eq!(peer.frame(), Received::pong("p"));
    assert_eq!(peer.close_code(), Some(1002));
    assert_eq!(peer.end(), End::Finished);
}
