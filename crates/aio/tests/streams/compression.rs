//! permessage-deflate, which the options of the runtime request in both roles.

use crate::pair::{pair, run};
use ringway_aio::{CloseCode, Config, Deflate, Limits, Message};

#[test]
fn compressed_messages_arrive_in_both_directions() {
    for deflate in [Deflate::shared(), Deflate::takeover()] {
        run(async {
            let config = Config::default().deflate(Some(deflate));
            ringway_aio::configure(config, Limits::default()).expect("the first");
            let (mut client, mut server) = pair().await;
            assert!(client.is_compressing() && server.is_compressing());
            for n in 0..20 {
                let text = format!("message {n}: {}", "the same words again and again. ".repeat(100 * n));
                client.send(text.as_str()).await.expect("it is open");
                let got = server.next().await.expect("a message").expect("no error");
                assert_eq!(got.as_text(), Some(text.as_str()));
                server.send(got).await.expect("it is open");
                assert_eq!(client.next().await.expect("a message").expect("no error"), Message::from(text));
            }
            client.close(CloseCode::NORMAL, "").await.expect("a clean end");
        });
    }
}
