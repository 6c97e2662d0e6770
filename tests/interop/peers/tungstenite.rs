//! `interop-tungstenite client URL CASE`, `interop-tungstenite server`: the peer of `tests/interop` on
//! tokio-tungstenite. The client exits with 0 if the case passes. The server echoes on a port of the
//! system, which it prints.

use futures_util::{SinkExt, StreamExt};
use std::error::Error;
use std::process::ExitCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Contents that differ from place to place.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

async fn open(url: &str) -> Outcome<Socket> {
    Ok(connect_async(url).await?.0)
}

async fn next(socket: &mut Socket) -> Outcome<Message> {
    Ok(socket.next().await.ok_or("the connection ended")??)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    let (mut actual, mut expected) = (format!("{actual:?}"), format!("{expected:?}"));
    actual.truncate(200);
    expected.truncate(200);
    Err(format!("{what}: expected {expected}, got {actual}").into())
}

async fn echo(url: &str) -> Outcome {
    let mut socket = open(url).await?;
    for len in [0, 1, 125, 126, 65535, 65536, 1 << 20] {
        for message in [Message::binary(bytes(len)), Message::text("é".repeat(len / 2))] {
            socket.send(message.clone()).await?;
            expect("echo", &next(&mut socket).await?, &message)?;
        }
    }
    Ok(())
}

async fn fragments(url: &str) -> Outcome {
    let mut socket = open(url).await?;
    let parts = [1, 0, 16383, 16384, 16385, 100_000].map(bytes);
    for (at, part) in parts.iter().enumerate() {
        let opcode = if at == 0 { Data::Binary } else { Data::Continue };
        let is_last = at + 1 == parts.len();
        socket.send(Message::Frame(Frame::message(part.clone(), OpCode::Data(opcode), is_last))).await?;
        if at == 2 {
            socket.send(Message::Ping("between".into())).await?;
            expect("pong between fragments", &next(&mut socket).await?, &Message::Pong("between".into()))?;
        }
    }
    expect("fragments", &next(&mut socket).await?, &Message::binary(parts.concat()))
}

async fn ping(url: &str) -> Outcome {
    let mut socket = open(url).await?;
    socket.send(Message::Ping("payload".into())).await?;
    expect("pong", &next(&mut socket).await?, &Message::Pong("payload".into()))
}

async fn pinged(url: &str) -> Outcome {
    let mut socket = open(url).await?;
    socket.send("/ping payload".into()).await?;
    expect("ping", &next(&mut socket).await?, &Message::Ping("payload".into()))?;
    expect("answer to the pong", &next(&mut socket).await?, &"pong payload".into())
}

async fn subprotocol(url: &str) -> Outcome {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("chat, superchat"));
    let (_socket, response) = connect_async(request).await?;
    let chosen = response.headers().get("Sec-WebSocket-Protocol");
    expect("subprotocol", &chosen, &Some(&HeaderValue::from_static("chat")))
}

async fn close(url: &str) -> Outcome {
    let mut socket = open(url).await?;
    let frame = CloseFrame { code: 4321.into(), reason: "réason".into() };
    socket.close(Some(frame)).await?;
    match next(&mut socket).await? {
        Message::Close(Some(answer)) => expect("code of the answer", &u16::from(answer.code), &4321)?,
        other => return Err(format!("expected a close frame, got {other:?}").into()),
    }
    end(&mut socket).await
}

async fn closed(url: &str) -> Outcome {
    let mut socket = open(url).await?;
    socket.send("/close 4444 réason".into()).await?;
    let frame = CloseFrame { code: 4444.into(), reason: "réason".into() };
    expect("close frame", &next(&mut socket).await?, &Message::Close(Some(frame)))?;
    end(&mut socket).await
}

/// Reads the end of a connection whose close frames have passed.
async fn end(socket: &mut Socket) -> Outcome {
    match socket.next().await {
        None | Some(Err(WsError::ConnectionClosed)) => Ok(()),
        other => Err(format!("expected the end of the connection, got {other:?}").into()),
    }
}

async fn client(url: &str, case: &str) -> Outcome {
    match case {
        "echo" => echo(url).await,
        "fragments" => fragments(url).await,
        "ping" => ping(url).await,
        "pinged" => pinged(url).await,
        "subprotocol" => subprotocol(url).await,
        "close" => close(url).await,
        "closed" => closed(url).await,
        _ => Err("no such case".into()),
    }
}

async fn serve() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let Ok(mut socket) = accept_async(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                // Pongs and the answer to a close frame are sent by the library.
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["client", url, case] => client(url, case).await.map(|()| println!("{case}: passed")),
        ["server"] => serve().await,
        _ => Err("usage: interop-tungstenite client URL CASE | server".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop-tungstenite: {error}");
            ExitCode::FAILURE
        }
    }
}
