//! (c) A server with faults: each one is counted as itself, and the counts are those of the server.

use crate::frame::{Cores, Proof, prove};
use crate::generator::{Report, load};
use crate::servers::{impaired, impaired_anywhere, url};
use ringway_testkit::impaired::{
    CorruptedByte, EndingKind, ImpairedCounts, ImpairedReport, ImpairedServer, Impairments, PlannedEnding,
};
use std::time::Duration;

/// One reply in so many has the fault.
const EVERY: u32 = 100;

/// The delay of the server: no answer is faster.
const DELAY: Duration = Duration::from_millis(1);

/// The timeout of the runs that drop replies. Only a reply that is later than this for another
/// reason could change a count.
const TIMEOUT: &str = "--timeout 1s";

fn good() -> Impairments {
    Impairments { delay: DELAY, ..Impairments::default() }
}

fn start(impairments: Impairments) -> ImpairedServer {
    match Cores::read() {
        Ok(cores) => impaired(impairments, cores),
        Err(_) => impaired_anywhere(impairments),
    }
}

/// A load on a server with these faults.
fn run(impairments: Impairments, arguments: &str) -> (Report, ImpairedCounts) {
    let (report, server) = run_recorded(impairments, arguments);
    (report, server.counts)
}

/// The same, with the record of the replies.
fn run_recorded(impairments: Impairments, arguments: &str) -> (Report, ImpairedReport) {
    let server = start(impairments);
    let report = load(&url(&server), &format!("{arguments} -t 1 {TIMEOUT}"));
    (report, server.stop())
}

/// The counts of the generator are those of the server, and all other counts are 0. `corrupted` is
/// the number of corrupted replies that the generator must find.
fn compare(proof: &mut Proof, report: &Report, server: &ImpairedCounts, offered: u64, corrupted: u64) {
    for (figure, expected) in [
        ("offered", offered),
        ("sent", server.messages),
        ("received", server.answered - corrupted),
        ("missing", server.dropped),
        ("duplicated", server.duplicated),
        ("corrupted", corrupted),
        ("reordered", server.swapped),
        ("pings", server.pings_sent),
        ("fragmented", server.fragmented),
        ("unasked", server.unasked),
        ("unsent", 0),
        ("late", 0),
        ("lost", 0),
        ("skipped", 0),
    ] {
        proof.equal(figure, report.count(&format!("messages.{figure}")), expected);
    }
    proof.equal("pongs", server.pongs_received, server.pings_sent);
    let wrong = [("reply_timeout", server.dropped), ("duplicate_reply", server.duplicated)];
    let wrong = [&wrong[..], &[("verify_content", corrupted), ("unexpected_message", server.unasked)]].concat();
    for (kind, expected) in &wrong {
        proof.equal(kind, report.errors(kind), *expected);
    }
    proof.equal("all errors", report.all_errors(), wrong.iter().map(|(_, count)| count).sum());
    // A message without an answer is in the histogram.
    proof.equal("response.count", report.count("latency_us.response.count"), offered - corrupted);
    proof.equal("response.lower_bounds", report.count("latency_us.response.lower_bounds"), server.dropped);
    // A duplicate that passes as an answer is faster than the delay.
    proof.at_least("response.min ms", report.millis("response.min"), 0.999 * DELAY.as_secs_f64() * 1000.0);
    if server.dropped > 0 {
        proof.at_least("response.max ms", report.millis("response.max"), 1000.0);
    }
}

/// Loads of different shapes, their messages, and whether several messages of a connection wait at
/// once.
const SHAPES: [(&str, u64, bool); 3] =
    [("-c 10 -p 4 -n 4000", 4000, true), ("-c 1 -p 1 -n 200", 200, false), ("-R 2k -c 20 -n 2000", 2000, false)];

/// Runs all shapes with one fault. `count` is the server's count of it.
fn one_fault(proof: &mut Proof, name: &str, impairments: &Impairments, count: impl Fn(&ImpairedCounts) -> u64) {
    for (shape, messages, _) in SHAPES {
        proof.part(format!("{name}, {shape}"));
        let (report, server) = run(impairments.clone(), &format!("{shape} --verify all"));
        proof.equal("faults", count(&server), messages / u64::from(EVERY));
        compare(proof, &report, &server, messages, server.corrupted);
    }
    let (shape, messages, _) = SHAPES[0];
    proof.part(format!("{name}, {shape}, sample"));
    let (report, server) = run_recorded(impairments.clone(), &format!("{shape} --verify sample"));
    proof.equal("faults", count(&server.counts), messages / u64::from(EVERY));
    compare(proof, &report, &server.counts, messages, sampled(&server));
}

/// With `--verify sample`, the contents of each message whose number on its connection is a
/// multiple of this are compared.
const SAMPLE: u64 = 64;

/// The number of corrupted replies that `--verify sample` compares.
fn sampled(server: &ImpairedReport) -> u64 {
    server.corrupted.iter().filter(|number| number.is_multiple_of(SAMPLE)).count() as u64
}

#[test]
fn dropped_replies_are_missing_and_their_connections_go_on() {
    let drop = Impairments { drop_every: EVERY, ..good() };
    prove("c, dropped", |proof| one_fault(proof, "dropped", &drop, |server| server.dropped));
}

#[test]
fn second_replies_are_no_answers() {
    let duplicate = Impairments { duplicate_every: EVERY, ..good() };
    prove("c, duplicated", |proof| one_fault(proof, "duplicated", &duplicate, |server| server.duplicated));
}

#[test]
fn corrupted_replies_are_found() {
    let corrupt = Impairments { corrupt_every: EVERY, ..good() };
    prove("c, corrupted", |proof| one_fault(proof, "corrupted", &corrupt, |server| server.corrupted));
}

/// On one connection the replies are in the order of the messages, so that the numbers of the
/// corrupted ones are known before: each 9th message, of which one in 64 is sampled.
#[test]
fn corrupted_contents_of_sampled_messages_are_found() {
    const CORRUPT_EVERY: u64 = 9;
    const MESSAGES: u64 = 4000;
    let corrupt = Impairments { corrupt_every: CORRUPT_EVERY as u32, ..good() };
    let numbers = (1..=MESSAGES / CORRUPT_EVERY).map(|fault| fault * CORRUPT_EVERY - 1);
    let expected = numbers.clone().filter(|number| number.is_multiple_of(SAMPLE)).count() as u64;
    prove("c, corrupted, sampled", |proof| {
        let shape = format!("-c 1 -p 4 -n {MESSAGES}");
        proof.part(&shape);
        let (report, server) = run_recorded(corrupt.clone(), &format!("{shape} --verify sample"));
        proof.equal("faults", server.counts.corrupted, MESSAGES / CORRUPT_EVERY);
        proof.check(
            "numbers",
            "those of each 9th message".into(),
            server.corrupted.iter().copied().eq(numbers.clone()),
        );
        proof.equal("sampled", sampled(&server), expected);
        proof.at_least("sampled", expected as f64, 1.0);
        compare(proof, &report, &server.counts, MESSAGES, expected);
    });
}

/// Damage to the sequence number is found in each reply, also where the rest is only sampled. The
/// check of a binary message has 32 bits; that of text has 16, of which one in 65 536 is right by
/// chance.
#[test]
fn corrupted_marks_are_found() {
    let corrupt = Impairments { corrupt_every: EVERY, corrupted_byte: CorruptedByte::First, ..good() };
    prove("c, corrupted marks", |proof| {
        for verify in ["all", "sample"] {
            for (shape, messages, _) in SHAPES {
                proof.part(format!("{shape}, {verify}"));
                let (report, server) = run(corrupt.clone(), &format!("{shape} -b --verify {verify}"));
                proof.equal("faults", server.corrupted, messages / u64::from(EVERY));
                compare(proof, &report, &server, messages, server.corrupted);
            }
        }
    });
}

#[test]
fn swapped_replies_are_matched_and_counted_once() {
    let swap = Impairments { swap_every: EVERY, ..good() };
    prove("c, swapped", |proof| {
        for (shape, messages, is_piped) in SHAPES {
            for verify in ["all", "sample"] {
                proof.part(format!("{shape}, {verify}"));
                let (report, server) = run(swap.clone(), &format!("{shape} --verify {verify}"));
                let faults = messages / u64::from(EVERY);
                proof.equal("faults", server.swapped + server.not_swapped, faults);
                if is_piped {
                    // The last message of a connection has none behind it.
                    proof.at_least("swapped", server.swapped as f64, faults as f64 - 10.0);
                } else if shape.contains("-p 1") {
                    proof.equal("swapped", server.swapped, 0);
                }
                compare(proof, &report, &server, messages, 0);
            }
        }
    });
}

#[test]
fn pings_are_no_replies() {
    let ping = Impairments { ping_every: EVERY, ..good() };
    prove("c, pings", |proof| one_fault(proof, "ping", &ping, |server| server.pings_sent));
}

#[test]
fn fragmented_replies_are_answers_and_are_counted() {
    let fragment = Impairments { fragment_every: EVERY, ..good() };
    prove("c, fragmented", |proof| one_fault(proof, "fragmented", &fragment, |server| server.fragmented));
}

#[test]
fn messages_that_answer_nothing_are_counted_whether_others_wait_or_not() {
    let unasked = Impairments { unasked_every: EVERY, ..good() };
    prove("c, unasked", |proof| one_fault(proof, "unasked", &unasked, |server| server.unasked));
}

#[test]
fn all_faults_at_once_are_told_apart() {
    let impairments = Impairments {
        drop_every: EVERY,
        duplicate_every: EVERY,
        corrupt_every: EVERY,
        swap_every: EVERY,
        ping_every: EVERY,
        fragment_every: EVERY,
        unasked_every: EVERY,
        ..good()
    };
    prove("c, all", |proof| {
        for (shape, messages, _) in SHAPES {
            proof.part(shape);
            let (report, server) = run(impairments.clone(), &format!("{shape} --verify all"));
            let hit = [server.dropped, server.duplicated, server.corrupted, server.pings_sent];
            let hit = [&hit[..], &[server.fragmented, server.unasked]].concat();
            proof.check("faults", format!("{hit:?} above 0"), hit.iter().all(|count| *count > 0));
            compare(proof, &report, &server, messages, server.corrupted);
        }
    });
}

#[test]
fn connections_that_the_server_ends_are_no_success() {
    prove("c, ended", |proof| {
        for (how, kind) in
            [(EndingKind::Close(1011), "closed_early"), (EndingKind::Finish, "vanished"), (EndingKind::Reset, "reset")]
        {
            proof.part(format!("{how:?}"));
            let ending = Some(PlannedEnding { one_in: 2, after: 50, how });
            let (report, server) = run(Impairments { ending, ..good() }, "-R 2k -c 20 -n 3000 --verify all");
            let count = |figure: &str| report.count(&format!("messages.{figure}"));
            proof.equal("ended", server.ended, 10);
            proof.equal("connections.dropped", report.count("connections.dropped"), server.ended);
            proof.equal(kind, report.errors(kind), server.ended);
            proof.equal("all errors", report.all_errors(), server.ended);
            // 150 messages are due on each connection, and half of the connections end after 50.
            proof.equal("offered", count("offered"), 3000);
            proof.equal("sent + unsent", count("sent") + count("unsent"), 3000);
            proof.equal("received", count("received"), server.answered);
            proof.equal("received + missing", count("received") + count("missing"), count("sent"));
            proof.equal("lost", count("lost"), count("missing"));
            proof.within("unsent", count("unsent") as f64, 900.0..=1000.0);
        }
    });
}

#[test]
fn sent_messages_are_those_that_the_server_has_read() {
    prove("c, send", |proof| {
        for (ignore_pings, no_pong) in [(false, 0), (true, 10)] {
            proof.part(format!("ignore_pings: {ignore_pings}"));
            let impairments = Impairments { ignore_pings, ..Impairments::default() };
            let (report, server) = run(impairments, "--mode send -c 10 -n 20000");
            proof.equal("sent", report.count("messages.sent"), 20_000);
            proof.equal("messages", server.messages, 20_000);
            proof.equal("pings received", server.pings_received, 10);
            proof.equal("no_pong", report.errors("no_pong"), no_pong);
            proof.equal("all errors", report.all_errors(), no_pong);
            // The kernel has taken the messages. No reply is missing, because none is expected.
            proof.equal("missing", report.count("messages.missing"), 0);
        }
    });
}
