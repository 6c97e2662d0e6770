//! The header `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).

use std::borrow::Cow;

use super::head::{Headers, is_token};

/// The header does not conform to the grammar. Its receiver must fail the connection (RFC 6455
/// section 9.1).
///
/// ```
/// use ringway_codec::{HeadLimits, parse_request};
///
/// let head = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: a;;b\r\n\r\n";
/// let (request, _) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
/// assert_eq!(request.extensions().unwrap_err().status, 400);
/// # Ok::<(), ringway_codec::Refusal>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Sec-WebSocket-Extensions does not follow the grammar of RFC 6455 section 9.1")]
pub struct MalformedExtensions;

/// One element of the header: an extension with its parameters, offered by a client or accepted by
/// a server.
///
/// ```
/// use ringway_codec::{HeadLimits, parse_request};
///
/// let head = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: x; level=3\r\n\r\n";
/// let (request, _) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
/// let extensions = request.extensions()?;
/// assert_eq!((extensions[0].name, extensions[0].params[0].0), ("x", "level"));
/// # Ok::<(), ringway_codec::Refusal>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'b> {
    /// The extension's name, a token.
    pub name: &'b str,
    /// The parameters in the order received, duplicates included: name, and value if present.
    /// Values are without quotes; a quoted value is a token as well.
    pub params: Vec<(&'b str, Option<Cow<'b, str>>)>,
    /// The element as received.
    pub text: &'b str,
}

/// Parses all elements of all `Sec-WebSocket-Extensions` fields, in the order received, which is
/// the sender's order of preference. Empty elements are skipped, as HTTP requires for lists (RFC
/// 9110 section 5.6.1.2).
///
/// # Errors
///
/// [`MalformedExtensions`] for anything outside the grammar: a name or value that is not a token, a
/// missing value after `=`, an open quote, bytes that are not ASCII.
pub fn parse_extensions<'b>(headers: &Headers<'b>) -> Result<Vec<Extension<'b>>, MalformedExtensions> {
    let mut extensions = Vec::new();
    for value in headers.all("sec-websocket-extensions") {
        let value = std::str::from_utf8(value).map_err(|_| MalformedExtensions)?;
        for element in split(value, ',') {
            if !element.is_empty() {
                extensions.push(parse_one(element)?);
            }
        }
    }
    Ok(extensions)
}

fn parse_one(text: &str) -> Result<Extension<'_>, MalformedExtensions> {
    let mut parts = split(text, ';');
    let name = parts.next().filter(|name| is_token(name)).ok_or(MalformedExtensions)?;
    let params = parts.map(parse_param).collect::<Result<_, _>>()?;
    Ok(Extension { name, params, text })
}

fn parse_param(text: &str) -> Result<(&str, Option<Cow<'_, str>>), MalformedExtensions> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (trim(name), Some(unquote(trim(value))?)),
        None => (text, None),
    };
    let is_good = is_token(name) && value.as_deref().is_none_or(is_token);
    if is_good { Ok((name, value)) } else { Err(MalformedExtensions) }
}

/// Removes the quotes and backslashes of a quoted string (RFC 9110 section 5.6.4); returns other
/// text unchanged.
fn unquote(value: &str) -> Result<Cow<'_, str>, MalformedExtensions> {
    let Some(quoted) = value.strip_prefix('"') else { return Ok(value.into()) };
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next().ok_or(MalformedExtensions)? {
            '"' if characters.as_str().is_empty() => return Ok(text.into()),
            '"' => return Err(MalformedExtensions),
            '\\' => text.push(characters.next().ok_or(MalformedExtensions)?),
            character => text.push(character),
        }
    }
}

/// The trimmed parts of `text` between separators that are not in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    };
    text.split(separates).map(trim)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements of one or more header fields, written in one canonical form.
    fn parse(values: &[&str]) -> Result<Vec<String>, MalformedExtensions> {
        let fields: Vec<_> = values
            .iter()
            .map(|value| httparse::Header { name: "Sec-WebSocket-Extensions", value: value.as_bytes() })
            .collect();
        let write = |extension: &Extension<'_>| {
            let mut text = extension.name.to_owned();
            for (name, value) in &extension.params {
                text += &value.as_ref().map_or_else(|| format!("|{name}"), |value| format!("|{name}={value}"));
            }
            text
        };
        parse_extensions(&Headers::new(&fields)).map(|found| found.iter().map(write).collect())
    }

    #[test]
    fn rfc6455_9_1_elements_and_their_parameters() {
        let table: [(&[&str], &[&str]); 10] = [
            (&[], &[]),
            (&["foo"], &["foo"]),
            (&["foo, bar; baz=2"], &["foo", "bar|baz=2"]),
            (&["foo", "bar;baz"], &["foo", "bar|baz"]),
            (&["deflate-stream;a ; b = 1\t,\tmux"], &["deflate-stream|a|b=1", "mux"]),
            (&["foo; a=\"1\""], &["foo|a=1"]),
            (&["foo; a=\"\\1\\5\""], &["foo|a=15"]),
            (&["foo; a; a; a=1"], &["foo|a|a|a=1"]),
            (&["", ",, foo,", " \t"], &["foo"]),
            (&["foo, foo"], &["foo", "foo"]),
        ];
        for (values, expected) in table {
            assert_eq!(parse(values).unwrap(), expected, "{values:?}");
        }
    }

    #[test]
    fn rfc6455_9_1_other_syntax_is_malformed() {
        for value in [
            "foo;",
            "foo; ;a",
            ";a",
            "foo; a=",
            "foo; =1",
            "foo; a=1=2",
            "foo bar",
            "foo; a b",
            "foo; a=\"\"",
            "foo; a=\"1",
            "foo; a=1\"",
            "foo; a=\"1\"2",
            "foo; a=\"1 2\"",
            "foo; a=\"1,2\"",
            "foo; a=\"1\\",
            "fo/o",
            "foo; a=\"1;2\"",
            "foo; ü",
            "foo; a=\u{7f}",
            "\"foo\"",
            "foo, bar;",
        ] {
            assert_eq!(parse(&[value]), Err(MalformedExtensions), "{value:?}");
        }
        let fields = [httparse::Header { name: "sec-websocket-extensions", value: b"foo; a=\xff" }];
        assert_eq!(parse_extensions(&Headers::new(&fields)), Err(MalformedExtensions));
    }
}
