//! `serve --admin`: a listener of its own for operators, with `/metrics` and the health checks. One
//! thread that is not pinned serves it, so that a busy shard does not delay its answers.

use super::site;
use crate::exit::Failure;
use ringway::handover::{OfferOptions, Predecessor};
use ringway::{
    Address, BufferConfig, BusyPoll, Config, ConfigError, Connection, Cores, DriverChoice, Handler, Limits, Message,
    MetricsReader, Request, Response, Running, Server, Shards, StatusCode, Upgrade,
};
use ringway::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::sync::Arc;

/// The maximum number of connections; further ones wait.
const CONNECTIONS: u32 = 64;

/// The descriptors that the listener needs: its connections, its socket, a ring or an epoll set, and a
/// waker.
pub(super) const FILES: u64 = CONNECTIONS as u64 + 4;

/// The number of its sockets in a hand-over.
const PART: u8 = 1;

/// Makes the text of `/metrics`; `None` if there is none.
pub(super) type MetricsText = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// A listener that is bound, and serves once the server has started.
pub(super) struct Admin {
    server: Server,
}

/// The running listener. It serves until it is stopped, also while the server drains. After a
/// hand-over it accepts no more, and goes on serving its connections.
pub(super) struct RunningAdmin(Running<AdminPages>);

impl Admin {
    /// Listens, on the sockets of the former server if it has this address too.
    pub(super) fn bind(address: &str, predecessor: Option<&mut Predecessor>) -> Result<Self, Failure> {
        let server = match predecessor {
            Some(predecessor) => {
                Server::taking_over_part(predecessor, PART).and_then(|server| server.and_bind(address))
            }
            None => Server::bind(address),
        };
        Ok(Self { server: server.map_err(|error| Failure(format!("--admin {address}: {error}")))? })
    }

    pub(super) fn start(self, driver: DriverChoice, metrics: MetricsText) -> Result<RunningAdmin, Failure> {
        let (config, limits) = options(driver).map_err(|error| Failure(format!("--admin: {error}")))?;
        let server = self.server.shards(Shards::Count(1)).config(config).limits(limits);
        let running = server.start(move |_| AdminPages { metrics: Arc::clone(&metrics) });
        Ok(RunningAdmin(running.map_err(|error| Failure(format!("--admin: {error}")))?))
    }
}

/// Small ones: requests are short, and the only long output is the text of `/metrics`.
fn options(driver: DriverChoice) -> Result<(Config, Limits), ConfigError> {
    let config = Config::default()
        .cores(Cores::Unpinned)?
        .driver(driver)
        .ring_entries(64)?
        .busy_poll(BusyPoll::Off)?
        .buffers(BufferConfig::new().size(16 << 10)?.count(16)?);
    let limits = Limits::default().max_connections(CONNECTIONS)?.max_message(1 << 10)?.max_memory(Some(64 << 20))?;
    Ok((config, limits))
}

impl RunningAdmin {
    /// Also offers its sockets to the next server.
    pub(super) fn offer(&self, options: OfferOptions) -> Result<OfferOptions, ConfigError> {
        options.part(PART, self.0.handover_part())
    }

    pub(super) fn stop(self) -> Result<(), Failure> {
        self.0.stop();
        self.0.wait()?;
        Ok(())
    }
}

impl fmt::Display for RunningAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.0.addresses().iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            match address {
                Address::Tcp(address) => write!(f, "{comma}http://{address}")?,
                Address::Unix(address) => write!(f, "{comma}{address}")?,
            }
        }
        f.write_str(" (/metrics, /livez, /readyz)")
    }
}

struct AdminPages {
    metrics: MetricsText,
}

impl AdminPages {
    fn answer(&self, method: &str, path: &str) -> Response {
        match path {
            _ if !site::is_read(method) => Response::method_not_allowed(site::READS),
            "/metrics" => self.metrics(),
            path => site::health(path).unwrap_or_else(|| site::not_found("there is /metrics, /livez and /readyz")),
        }
    }

    fn metrics(&self) -> Response {
        let Some(text) = (self.metrics)() else {
            return site::uncached(Response::text(StatusCode::NOT_FOUND, "this server has no metrics"));
        };
        site::uncached(Response::new(StatusCode::OK, HeaderMap::new(), text.into_bytes()))
            .header(HeaderName::from_static("content-type"), HeaderValue::from_static(MetricsReader::CONTENT_TYPE))
    }
}

impl Handler for AdminPages {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::reject(StatusCode::NOT_FOUND, "this listener has no WebSockets; it is for --admin")
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        self.answer(request.method(), request.path())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_type_of_openmetrics_or_are_not_found() {
        let with = |text: Option<&'static str>| AdminPages { metrics: Arc::new(move || text.map(str::to_owned)) };
        let response = with(Some("# EOF\n")).answer("GET", "/metrics");
        assert_eq!((response.status(), response.body()), (StatusCode::OK, &b"# EOF\n"[..]));
        let content_type = response.headers()["content-type"].to_str().expect("ASCII");
        assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
        assert_eq!(with(None).answer("GET", "/metrics").status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_admin_listener_has_health_checks_and_no_page() {
        let pages = AdminPages { metrics: Arc::new(|| None) };
        for (method, path, status) in
            [("GET", "/livez", 200), ("HEAD", "/readyz", 503), ("GET", "/", 404), ("POST", "/metrics", 405)]
        {
            assert_eq!(pages.answer(method, path).status().as_u16(), status, "{method} {path}");
        }
    }

    #[test]
    fn its_options_are_valid() {
        let (config, limits) = options(DriverChoice::Auto).expect("in range");
        assert_eq!((config.check(), limits.check()), (Ok(()), Ok(())));
    }
}
