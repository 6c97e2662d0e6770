//! The client of the conformance suite: an echo in the client role for each case of
//! `wstest -m fuzzingserver`. `tests/conformance/run --aio` runs it.
//!
//! ```sh
//! aio-autobahn URL [--deflate] [--cacert FILE]
//! ```

use ringway_aio::{ClientTls, Config, Connector, Deflate, Error, Limits};
use std::process::ExitCode;

/// The name of this agent in the suite's results.
const AGENT: &str = "ringway";

/// Opens `path`, echoes messages until the connection ends, and returns the last one.
async fn visit(connector: &Connector, url: &str, path: &str, echoes: bool) -> Result<Option<String>, Error> {
    let mut ws = connector.connect(&format!("{}{path}", url.trim_end_matches('/'))).await?;
    let mut last = None;
    // Many cases end with an error that they provoke: the suite judges it.
    while let Some(Ok(message)) = ws.next().await {
        last = message.as_text().map(str::to_owned);
        if echoes && ws.send(message).await.is_err() {
            break;
        }
    }
    // The suite counts how the connection ends.
    while ws.close_reason().is_none() && ws.next().await.is_some() {}
    Ok(last)
}

async fn run(url: &str, deflate: bool, cacert: Option<&str>) -> Result<u32, Box<dyn std::error::Error>> {
    let config = Config::default().deflate(deflate.then(Deflate::takeover));
    // The largest message of the suite has 16 MiB.
    ringway_aio::configure(config, Limits::default().max_message(64 << 20)?)?;
    let mut connector = Connector::new();
    if let Some(file) = cacert {
        connector = connector.tls(&ClientTls::with_ca_files([file])?);
    }
    let count = visit(&connector, url, "/getCaseCount", false).await?.unwrap_or_default();
    let count: u32 = count.trim().parse()?;
    for case in 1..=count {
        visit(&connector, url, &format!("/runCase?case={case}&agent={AGENT}"), true).await?;
    }
    visit(&connector, url, &format!("/updateReports?agent={AGENT}"), false).await?;
    Ok(count)
}

fn main() -> ExitCode {
    let (mut url, mut deflate, mut cacert) = (None, false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--deflate" => deflate = true,
            "--cacert" => cacert = arguments.next(),
            _ => url = Some(argument),
        }
    }
    let Some(url) = url else {
        eprintln!("usage: aio-autobahn URL [--deflate] [--cacert FILE]");
        return ExitCode::from(2);
    };
    match tokio_uring::start(run(&url, deflate, cacert.as_deref())) {
        Ok(count) => {
            println!("{count} cases run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("aio-autobahn: {error}");
            ExitCode::FAILURE
        }
    }
}
