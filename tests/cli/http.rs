//! Plain HTTP of `serve`: the page, the health checks, curl, and `--admin`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway_tests::{End, RawRequest, ServerProcess, WirePeer, guarded};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use std::process::{Command, Stdio};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: server.example\r\n\r\n")
}

#[test]
fn requests_that_are_sent_together_are_answered_in_order_and_then_a_websocket_opens() {
    let serving = ServerProcess::with(&["--shards=1"]);
    let mut peer = WirePeer::connect(serving.address());
    peer.write(get("/livez") + &get("/no") + &get("/readyz") + &get("/") + &get("/metrics"));
    for (status, start) in [(200, "live\n"), (404, "there is"), (200, "ready\n"), (200, "<!doctype"), (404, "there")] {
        let response = peer.response();
        assert!(response.status == status && response.body.starts_with(start), "{response:?}");
        assert_eq!(response.field("connection"), Some("keep-alive"));
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert!(response.field("date").is_some_and(|date| date.ends_with(" GMT")), "{response:?}");
    }
    peer.upgrade();
    peer.expect_echo("hello");
}

#[test]
fn every_app_has_the_page() {
    for app in ["echo", "broadcast", "broadcast:topic", "topics", "sink", "push:10", "delay:1ms", "stall:100ms/1s"] {
        let serving = ServerProcess::with(&["--shards=1", "--app", app]);
        let mut peer = WirePeer::connect(serving.address());
        peer.write(get("/"));
        let response = peer.response();
        assert!(response.status == 200 && response.body.contains("bufferedAmount"), "{app}: {response:?}");
        assert_eq!(response.body.contains("<body data-app=\"topics\">"), app == "topics", "{app}");
        peer.write("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = peer.response();
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")), "{app}");
        assert_eq!(peer.end(), End::Finished);
    }
}

#[test]
fn the_policy_of_the_page_allows_its_own_script_and_style_and_nothing_else() {
    let serving = ServerProcess::with(&["--shards=1"]);
    let mut peer = WirePeer::connect(serving.address());
    peer.write(get("/"));
    let response = peer.response();
    let policy = response.field("content-security-policy").expect("a policy");
    let sha256 = TLS13_AES_128_GCM_SHA256.tls13().expect("of TLS 1.3").common.hash_provider;
    for tag in ["script", "style"] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let text = response.body.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).expect("an element").0;
        let hash = STANDARD.encode(sha256.hash(text.as_bytes()).as_ref());
        let source = format!("{tag}-src 'sha256-{hash}';");
        assert!(policy.contains(&source), "the hash of the {tag} is not in site.rs: expected {source}");
    }
    assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
}

/// Runs curl with these arguments.
fn curl(serving: &ServerProcess, arguments: &[String]) -> String {
    let child = Command::new("curl")
        .args(["--silent", "--show-error"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs curl (apt-get install curl): {error}"));
    let pid = rustix::process::Pid::from_child(&child);
    let output = guarded(pid, || child.wait_with_output()).expect("curl runs");
    assert!(output.status.success(), "{output:?} of {:?}", serving.announced);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_uses_one_connection_for_many_requests() {
    let serving = ServerProcess::with(&["--shards=2"]);
    let mut arguments = vec!["--write-out".to_owned(), "%{http_code} %{num_connects}\n".to_owned()];
    for path in ["/livez", "/readyz", "/no", "/", "/livez"] {
        arguments.extend([
            "--output".to_owned(),
            "/dev/null".to_owned(),
            format!("http://{}{path}", serving.address()),
        ]);
    }
    assert_eq!(curl(&serving, &arguments), "200 1\n200 0\n404 0\n200 0\n200 0\n");
    // HEAD, HTTP/1.0, and bodies, which curl sends with Content-Length, with Expect, and in chunks.
    let url = format!("http://{}/livez", serving.address());
    let status = |more: &[&str]| {
        let mut arguments = vec!["--output".to_owned(), "/dev/null".to_owned()];
        arguments.extend(["--write-out".to_owned(), "%{http_code}".to_owned(), url.clone()]);
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        curl(&serving, &arguments)
    };
    assert_eq!(status(&["--head"]), "200");
    assert_eq!(status(&["--http1.0"]), "200");
    assert_eq!(status(&["--request", "DELETE"]), "405");
    assert_eq!(status(&["--request", "BREW"]), "501");
    assert_eq!(status(&["--data", "body"]), "413");
    assert_eq!(status(&["--data", "body", "--header", "Transfer-Encoding: chunked"]), "411");
    assert_eq!(status(&["--header", "Host:"]), "400");
}

#[test]
fn the_limits_of_plain_http_are_flags() {
    let serving = ServerProcess::with(&["--shards=1", "--max-requests=2", "--keep-alive-timeout=100ms"]);
    let mut peer = WirePeer::connect(serving.address());
    peer.write(get("/livez").repeat(3));
    let connections =
        [peer.response(), peer.response()].map(|response| response.field("connection").map(str::to_owned));
    assert_eq!(connections, [Some("keep-alive".to_owned()), Some("close".to_owned())]);
    assert_eq!(peer.end(), End::Finished);
    let mut idle = WirePeer::connect(serving.address());
    idle.write(get("/livez"));
    assert_eq!(idle.response().status, 200);
    assert_eq!(idle.end(), End::Finished);
}

#[test]
fn operators_have_a_listener_of_their_own() {
    let serving = ServerProcess::with(&["--shards=1", "--admin=127.0.0.1:0"]);
    let mut peer = WirePeer::connect(serving.admin());
    peer.write(get("/metrics") + &get("/livez") + &get("/readyz") + &get("/"));
    let metrics = peer.response();
    assert_eq!(metrics.status, 200);
    assert!(metrics.field("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(metrics.body.contains("ringway_build_info") && metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    let statuses = [peer.response(), peer.response(), peer.response()].map(|response| response.status);
    assert_eq!(statuses, [200, 200, 404]);
    let mut peer = WirePeer::connect(serving.admin());
    peer.write(RawRequest::websocket().bytes());
    assert_eq!(peer.response().status, 404);
    let mut public = WirePeer::connect(serving.address());
    public.write(get("/metrics"));
    assert_eq!(public.response().status, 404);
}
