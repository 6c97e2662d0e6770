//! What `serve` answers to plain HTTP requests, on the same port as its WebSockets: a page that opens
//! one, and the health checks. All applications use it.

use ringway::{HeaderMap, HeaderName, HeaderValue, Readiness, Request, Response, StatusCode};
use std::sync::{Arc, LazyLock, OnceLock};

/// The page, with its style and script.
const PAGE: &str = include_str!("page.html");

/// What the page may load and run: its own style and script, by their hashes (Content Security Policy
/// Level 3), and WebSockets of its own host. A test compares the hashes with the page.
const POLICY: &str = "default-src 'none'; script-src 'sha256-EHKkIQtPWgFZicMJ+9sU2BdSbaLWRMrPC/s0cH5T9ng='; style-src 'sha256-HVvbVRQ5pkJev6ldCLPHKJF993P0KfTFddCbo2XSKxg='; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page of applications without a protocol of their own, which all shards share.
static MESSAGES: LazyLock<Arc<[u8]>> = LazyLock::new(|| PAGE.as_bytes().into());

/// The page of `--app topics`: its script reads the attribute, and shows the controls of topics.
static TOPICS: LazyLock<Arc<[u8]>> =
    LazyLock::new(|| PAGE.replacen("<body>", "<body data-app=\"topics\">", 1).into_bytes().into());

/// Whether the server wants new connections. There is one server in a process.
static READINESS: OnceLock<Readiness> = OnceLock::new();

/// Takes the state of the started server, for `/readyz`.
pub(crate) fn use_readiness(readiness: Readiness) {
    // A second server in the process would be ready at other times; there is none.
    let _ = READINESS.set(readiness);
}

/// Answers a plain request.
pub(crate) fn respond(request: &Request<'_>) -> Response {
    answer(request.method(), request.path(), &MESSAGES)
}

/// Answers a plain request to `--app topics`.
pub(crate) fn respond_with_topics(request: &Request<'_>) -> Response {
    answer(request.method(), request.path(), &TOPICS)
}

fn answer(method: &str, path: &str, body: &Arc<[u8]>) -> Response {
    match path {
        _ if !is_read(method) => Response::method_not_allowed(READS),
        "/" => page(body),
        path => health(path).unwrap_or_else(|| not_found("there is /, /livez and /readyz")),
    }
}

/// The methods of all resources.
pub(super) const READS: &str = "GET, HEAD";

/// Whether this is one of them.
pub(super) fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// The answer of a health check, if this is the path of one.
pub(super) fn health(path: &str) -> Option<Response> {
    let response = match path {
        // A server that drains is not to be restarted.
        "/livez" => Response::text(StatusCode::OK, "live"),
        "/readyz" if READINESS.get().is_some_and(Readiness::is_ready) => Response::text(StatusCode::OK, "ready"),
        "/readyz" => Response::text(StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or draining"),
        _ => return None,
    };
    Some(uncached(response))
}

pub(super) fn not_found(what: &str) -> Response {
    uncached(Response::text(StatusCode::NOT_FOUND, what))
}

/// The response with the fields of all responses: not stored, and never of another type than said.
pub(super) fn uncached(response: Response) -> Response {
    response
        .header(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store"))
        .header(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"))
}

fn page(body: &Arc<[u8]>) -> Response {
    uncached(Response::shared(StatusCode::OK, HeaderMap::new(), Arc::clone(body)))
        .header(HeaderName::from_static("content-type"), HeaderValue::from_static("text/html; charset=utf-8"))
        .header(HeaderName::from_static("content-security-policy"), HeaderValue::from_static(POLICY))
        .header(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, path: &str) -> u16 {
        answer(method, path, &MESSAGES).status().as_u16()
    }

    #[test]
    fn there_is_a_page_two_health_checks_and_nothing_else() {
        // Here no server has started.
        assert_eq!(status("GET", "/readyz"), 503);
        for path in ["/", "/livez"] {
            assert_eq!((status("GET", path), status("HEAD", path)), (200, 200), "{path}");
        }
        for path in ["/metrics", "/index.html", "/livez/", "/favicon.ico", "//"] {
            assert_eq!(status("GET", path), 404, "{path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
            let response = answer(method, "/", &MESSAGES);
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &HeaderValue::from_static(READS))
            );
            assert_eq!(status(method, "/metrics"), 405);
        }
    }

    #[test]
    fn the_pages_differ_in_the_name_of_the_app() {
        let [messages, topics] = [&MESSAGES, &TOPICS].map(|body| answer("GET", "/", body).body().to_vec());
        let topics = String::from_utf8(topics).expect("UTF-8");
        assert_eq!(topics.matches("<body data-app=\"topics\">").count(), 1);
        assert_eq!(topics.replace(" data-app=\"topics\"", "").into_bytes(), messages);
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let response = answer("GET", "/", &TOPICS);
        let page = std::str::from_utf8(response.body()).expect("UTF-8");
        for other in ["http:", "https:", "//", "src=", "href=", "@import", "url("] {
            let script = page.find("<script>").expect("a script");
            // The script has comments and the names of schemes.
            assert!(!page[..script].contains(other), "{other}");
        }
        assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
    }
}
