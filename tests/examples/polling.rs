//! `polling`

use crate::process::Process;

/// The columns of a row: updates, requests, bytes of an update, and so on.
fn row(line: &str, name: &str) -> Vec<f64> {
    let columns = line.strip_prefix(name).unwrap_or_else(|| panic!("{name}: {line:?}"));
    columns.split_whitespace().map(|column| column.parse().expect("a number")).collect()
}

#[test]
fn both_ways_receive_every_update_and_the_websocket_takes_fewer_bytes() {
    let comparison = Process::start("polling", &["5", "20", "20", "1"]);
    let head = comparison.line();
    assert!(head.starts_with("5 clients, 20 updates a second, 1 s"), "{head}");
    assert_eq!((comparison.line().as_str(), comparison.line().contains("bytes")), ("", true));
    let polled = row(&comparison.line(), "HTTP, polled each 20ms");
    let pushed = row(&comparison.line(), "WebSocket");
    assert_eq!((polled[0], pushed[0]), (100.0, 100.0), "updates");
    assert!(polled[1] >= 5.0 && pushed[1] <= 5.0, "requests: {polled:?}, {pushed:?}");
    // One response carries several updates if the client is late, so that no factor is certain.
    assert!(pushed[2] < polled[2], "bytes: {polled:?}, {pushed:?}");
    assert!(polled[3] > 0.0 && pushed[3] > 0.0, "CPU time: {polled:?}, {pushed:?}");
    let (status, notices) = comparison.wait();
    assert!(status.success() && notices.is_empty(), "{status} {notices:?}");
}

#[test]
fn a_number_out_of_range_is_named() {
    let (status, notices) = Process::start("polling", &["20", "0"]).wait();
    assert_eq!(
        (status.code(), notices.as_slice()),
        (Some(1), &["polling: UPDATES is 0: give 1 to 1000".to_owned()][..])
    );
}
