//! The memory that compression takes for each connection of `ringway serve`. The figures of
//! docs/tuning.md come from `cargo test -p ringway-tests --test cli memory_of_compressing --
//! --nocapture`.

use ringway_tests::{Frame, RawRequest, ServerProcess, WATCHDOG, WirePeer, ringway};
use std::time::Instant;

/// So many that a buffer of the shard, of up to 320 KiB, which the allocator keeps or frees, is below
/// [`ROUGHLY`] for each connection.
const CONNECTIONS: usize = 800;

/// Resident memory of the process in bytes, without its code, whose pages are loaded as they are
/// used.
fn resident(serving: &ServerProcess) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.pid())).expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the line is always there");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// A message. The compressed one needs no compressor: one stored block and the beginning of an
/// empty one (RFC 7692 section 7.2.3.3). The server compresses its echo.
fn message(compressed: bool) -> Frame {
    let text: String = (0..40).map(|n| format!("{{\"symbol\":\"ACME{n}\",\"price\":{}}},", n * 37 % 991)).collect();
    if !compressed {
        return Frame::text(text);
    }
    let length = text.len() as u16;
    let block = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), text.as_bytes(), &[0]].concat();
    Frame::text(block).bits(0x40)
}

/// The memory of one connection in bytes: open, after its first message, and after a pause, which
/// ends once the memory is at most `silence`.
fn measure(mode: &str, offer: &str, silence: usize) -> [usize; 3] {
    let mut command = ringway(&["serve", "--listen=127.0.0.1:0", "--shards=1", "--idle-timeout=30s", mode]);
    // Otherwise the allocator keeps freed memory for a while, which would be part of the figures.
    let serving = ServerProcess::start({
        command.env("MIMALLOC_PURGE_DELAY", "0");
        command
    });
    let before = resident(&serving);
    let each = || resident(&serving).saturating_sub(before) / CONNECTIONS;
    let mut peers: Vec<WirePeer> = (0..CONNECTIONS).map(|_| WirePeer::connect(serving.address())).collect();
    for peer in &mut peers {
        peer.write(RawRequest::websocket().with("Sec-WebSocket-Extensions", offer).bytes());
        peer.expect_upgrade();
    }
    let open = each();
    for peer in &mut peers {
        peer.send(&message(mode != "--deflate=off"));
        peer.frame();
    }
    let active = each();
    // The server sends the ping when it releases the compressor.
    for peer in &mut peers {
        peer.frame();
    }
    let (deadline, mut silent) = (Instant::now() + WATCHDOG, each());
    while silent > silence && Instant::now() < deadline {
        std::thread::yield_now();
        silent = each();
    }
    println!("{mode:20} {offer:55} open {open:>7} B, active {active:>7} B, silent {silent:>7} B");
    [open, active, silent]
}

/// The table of docs/tuning.md: the labels of its rows, and the bytes in them.
fn documented() -> Vec<(String, [usize; 3])> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tuning.md");
    let document = std::fs::read_to_string(path).expect("docs/tuning.md is there");
    let lines = document.lines().skip_while(|line| !line.starts_with("| | open |")).skip(2);
    let figure = |cell: &str| cell.split_whitespace().collect::<String>().parse().ok();
    lines
        .map_while(|line| {
            let (name, figures) = line.strip_prefix('|')?.split_once('|')?;
            let mut figures = figures.split('|').map(figure);
            Some((name.trim().to_owned(), [figures.next()??, figures.next()??, figures.next()??]))
        })
        .collect()
}

/// Memory that depends on the build, per connection.
const ROUGHLY: usize = 1000;

fn tolerance(documented: usize) -> usize {
    documented / 10 + ROUGHLY
}

#[test]
fn memory_of_compressing_is_as_documented() {
    const PMD: &str = "permessage-deflate";
    let takeover = "--deflate=takeover";
    let modes = [
        ("`--deflate off`", "--deflate=off", PMD),
        ("`--deflate shared`", "--deflate=shared", PMD),
        ("`--deflate takeover`", takeover, PMD),
        ("… the client takes no context over", takeover, "permessage-deflate; client_no_context_takeover"),
        (
            "… nor wants a window of more than 512 B",
            takeover,
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
        ),
        ("… the server takes no context over", takeover, "permessage-deflate; server_no_context_takeover"),
    ];
    let documented = documented();
    let rows: Vec<&str> = documented.iter().map(|(row, _)| row.as_str()).collect();
    assert_eq!(rows, modes.map(|(row, ..)| row), "the table has a row for each mode");
    // In parallel, each on its own server: the pause takes most of the time.
    std::thread::scope(|scope| {
        for ((_, mode, offer), (row, documented)) in modes.into_iter().zip(&documented) {
            scope.spawn(move || {
                let silence = documented[2] + tolerance(documented[2]);
                let measured = measure(mode, offer, silence);
                for (measured, &documented) in measured.into_iter().zip(documented) {
                    let off = measured.abs_diff(documented);
                    assert!(off <= tolerance(documented), "{row}: {measured} B, and {documented} B in docs/tuning.md");
                }
            });
        }
    });
}
