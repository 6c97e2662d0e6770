//! `wss://`, in both roles.

use crate::pair::run;
use ringway_aio::{Acceptor, ClientTls, CloseCode, Connector, Error, Listener, Message, TlsConfig, Unopened};
use ringway_testkit::certificates::Authority;
use std::io::Write;
use std::os::unix::net::UnixStream;

fn configs() -> (TlsConfig, ClientTls) {
    let root = Authority::root("Test Root");
    let identity = root.issue(&["localhost", "127.0.0.1"]);
    let server =
        TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and its key");
    (server, ClientTls::with_ca_pem(root.pem().as_bytes()).expect("a certificate"))
}

#[test]
fn messages_are_echoed_through_tls() {
    run(async {
        let (tls, roots) = configs();
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port").with(Acceptor::new().tls(&tls));
        let url = format!("wss://{}/", listener.local_addr());
        for connector in [Connector::new().tls(&roots), Connector::new().insecure()] {
            let url = url.clone();
            let client = tokio_uring::spawn(async move { connector.connect(&url).await });
            let mut server = listener.accept().await.expect("it opens");
            let mut client = client.await.expect("no panic").expect("it opens");
            for len in [0, 1, 70_000, 1 << 20] {
                client.send(vec![7; len]).await.expect("it is open");
                let got = server.next().await.expect("a message").expect("no error");
                assert_eq!(got, Message::binary(vec![7; len]));
            }
            let closing = tokio_uring::spawn(async move { client.close(CloseCode::NORMAL, "").await });
            assert!(server.next().await.is_none());
            closing.await.expect("no panic").expect("a clean end");
        }
    });
}

#[test]
fn the_options_hold_for_a_scheme_in_upper_case() {
    run(async {
        let (tls, roots) = configs();
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port").with(Acceptor::new().tls(&tls));
        let url = format!("WSS://{}/", listener.local_addr());
        let client = tokio_uring::spawn(async move { Connector::new().tls(&roots).connect(&url).await });
        let server = tokio_uring::spawn(async move { listener.accept().await });
        let mut client = client.await.expect("no panic").expect("the certificate is trusted");
        client.send("hello").await.expect("it is open");
        let mut server = server.await.expect("no panic").expect("it opens");
        assert_eq!(server.next().await.expect("a message").expect("no error"), Message::from("hello"));
    });
}

#[test]
fn a_certificate_that_is_not_trusted_is_an_error_on_both_sides() {
    run(async {
        let (tls, _) = configs();
        let (_, other_roots) = configs();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("wss://{}/", socket.local_addr().expect("bound"));
        let client = tokio_uring::spawn(async move { Connector::new().tls(&other_roots).connect(&url).await });
        // The connection waits in the queue of the kernel when the client has begun.
        let accepted = std::thread::spawn(move || socket.accept().expect("a client").0);
        while !accepted.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let accepted = accepted.join().expect("no panic");
        let error = Acceptor::new().tls(&tls).accept_socket(accepted).await.expect_err("the client leaves");
        assert!(matches!(error, Error::Accept(Unopened::Tls(_))), "{error}");
        let error = client.await.expect("no panic").expect_err("it is not trusted");
        assert!(matches!(error, Error::Connect(_)) && error.to_string().contains("TLS"), "{error}");
    });
}

#[test]
fn plain_bytes_on_a_tls_connection_are_an_error() {
    run(async {
        let (tls, _) = configs();
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        theirs.write_all(b"neither TLS nor HTTP, but long enough").expect("it is open");
        theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
        let error = Acceptor::new().tls(&tls).accept_socket(ours).await.expect_err("no TLS");
        assert!(matches!(error, Error::Accept(Unopened::Tls(_))), "{error}");
    });
}
