//! Headers of the opening handshake, and what is written into them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway::{HeaderName, HeaderValue};

/// Headers of the handshake itself, which the client writes, and headers that a handshake must not
/// have.
const HANDSHAKE: [&str; 4] = ["connection", "upgrade", "content-length", "transfer-encoding"];

/// A header to add to an opening handshake: `Name: value`.
///
/// # Errors
/// As of [`header_of`], and a text without a colon.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("give a header as 'Name: value'")?;
    header_of(name, value)
}

/// A header to add to an opening handshake. Spaces around the name and the value are not part of
/// them.
///
/// # Errors
/// An invalid name or value, and a header that the client writes itself.
pub fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name: HeaderName = name.trim().parse().map_err(|_| format!("{name:?} is not a valid header name"))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} is not a valid header value", value.trim()))?;
    match name.as_str() {
        "sec-websocket-protocol" => {
            Err("offer subprotocols with --subprotocol, or with `subprotocols` in a scenario".into())
        }
        own if HANDSHAKE.contains(&own) || own.starts_with("sec-websocket-") => {
            Err(format!("the opening handshake has its own {name}"))
        }
        _ => Ok((name, value)),
    }
}

/// The value of an Origin header to send.
///
/// # Errors
/// What to write instead.
pub fn origin(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("give an origin, as https://example.com, in visible ASCII characters".into())
}

/// The name of a subprotocol: a token (RFC 6455 section 4.1).
///
/// # Errors
/// What to write instead.
pub fn subprotocol(text: &str) -> Result<String, String> {
    if is_token(text) {
        return Ok(text.to_owned());
    }
    Err("give one name, of letters, digits and !#$%&'*+-.^_`|~".into())
}

/// A token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The Cookie header of these cookies, each `NAME=VALUE` (RFC 6265 section 4.2).
///
/// # Errors
/// The cookie that is invalid, and what to write instead.
pub fn cookies<'a>(cookies: impl IntoIterator<Item = &'a str>) -> Result<HeaderValue, String> {
    let mut line = String::new();
    for cookie in cookies {
        let (name, value) =
            cookie.split_once('=').ok_or_else(|| format!("the cookie {cookie:?} has no value: give NAME=VALUE"))?;
        // A semicolon would begin another cookie.
        if !is_token(name) || !value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';') {
            return Err(format!(
                "the cookie {cookie:?} is invalid: give NAME=VALUE in visible ASCII characters, without a semicolon"
            ));
        }
        let separator = if line.is_empty() { "" } else { "; " };
        line += &format!("{separator}{cookie}");
    }
    line.parse().map_err(|_| format!("{line:?} is not a valid header value"))
}

/// The Authorization header of a bearer token (RFC 6750 section 2.1).
///
/// # Errors
/// What to write instead. The token is not repeated, because it is a secret.
pub fn authorization_bearer(token: &str) -> Result<HeaderValue, String> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("give a token of visible ASCII characters, without spaces".into());
    }
    secret(format!("Bearer {token}"))
}

/// The Authorization header of a user and a password, `USER:PASSWORD` (RFC 7617 section 2).
///
/// # Errors
/// What to write instead. The password is not repeated.
pub fn authorization_basic(credentials: &str) -> Result<HeaderValue, String> {
    if !credentials.contains(':') || credentials.chars().any(char::is_control) {
        return Err("give USER:PASSWORD, without control characters".into());
    }
    secret(format!("Basic {}", STANDARD.encode(credentials)))
}

fn secret(text: String) -> Result<HeaderValue, String> {
    let mut value: HeaderValue = text.parse().map_err(|_| "it has characters that are not valid in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_a_name_and_a_value() {
        let (name, value) = header("X-Key:  a:b ").expect("a header");
        assert_eq!((name.as_str(), value.to_str().ok()), ("x-key", Some("a:b")));
        assert!(["none", "a b: c", "a: b\u{1}c"].iter().all(|text| header(text).is_err()));
    }

    #[test]
    fn headers_of_the_handshake_itself_are_refused() {
        for name in [
            "Connection",
            "upgrade",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Accept",
            "Content-Length",
            "Transfer-Encoding",
        ] {
            assert!(header(&format!("{name}: 1")).is_err(), "{name}");
        }
        assert!(["Host: a", "Origin: b", "Authorization: c"].iter().all(|text| header(text).is_ok()));
    }

    #[test]
    fn an_origin_is_visible_and_a_subprotocol_is_a_token() {
        assert!(origin("https://example.com").is_ok());
        assert!(["", "a\nb", "a b"].iter().all(|text| origin(text).is_err()));
        assert_eq!(subprotocol("graphql-transport-ws").as_deref(), Ok("graphql-transport-ws"));
        assert!(["", "a b", "a,b", "a/b", "\u{e9}"].iter().all(|text| subprotocol(text).is_err()));
    }

    #[test]
    fn cookies_share_one_header() {
        assert_eq!(cookies(["a=1", "b=x y", "c="]).expect("cookies"), "a=1; b=x y; c=");
        for wrong in ["a", "=1", "a b=1", "a=1;b=2", "a=\n"] {
            let error = cookies(["ok=1", wrong]).expect_err(wrong);
            assert!(
                error.starts_with(&format!("the cookie {wrong:?} ")) && error.contains("give NAME=VALUE"),
                "{error}"
            );
        }
    }

    #[test]
    fn credentials_are_encoded_and_never_printed() {
        assert_eq!(authorization_bearer("abc.def").expect("a token"), "Bearer abc.def");
        // The example of RFC 7617 section 2.
        let basic = authorization_basic("Aladdin:open sesame").expect("credentials");
        assert_eq!(basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(basic.is_sensitive() && !format!("{basic:?}").contains("QWx"));
        for wrong in ["", "two words", "line\n"] {
            assert!(authorization_bearer(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "user", "user:a\nb"] {
            assert!(authorization_basic(wrong).is_err(), "{wrong:?}");
        }
    }
}
