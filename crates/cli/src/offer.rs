//! The flags for what a client sends in its request: headers, the origin, subprotocols and
//! credentials. `load` and `connect` have them.

use crate::values::{bearer, cookie, credentials, header, origin_to_send, subprotocol};
use clap::Args;
use ringway::{HeaderMap, HeaderName, HeaderValue};
use ringway_loadtest::parse;

#[derive(Debug, Default, Args)]
pub(crate) struct OfferOptions {
    /// Header of the handshake, as 'Name: value'; repeatable
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = header, help_heading = "Connections")]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,
    /// Origin, as browsers send it
    #[arg(long, value_name = "ORIGIN", value_parser = origin_to_send, hide_short_help = true, help_heading = "Connections")]
    pub(crate) origin: Option<String>,
    /// Subprotocol to offer; repeatable
    #[arg(long, value_name = "NAME", value_parser = subprotocol, hide_short_help = true, help_heading = "Connections")]
    pub(crate) subprotocol: Vec<String>,
    /// Cookie to send; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = cookie, hide_short_help = true, help_heading = "Connections")]
    pub(crate) cookie: Vec<String>,
    /// Token to send as 'Authorization: Bearer'
    #[arg(long, value_name = "TOKEN", conflicts_with = "basic", value_parser = bearer, hide_short_help = true, help_heading = "Connections")]
    pub(crate) bearer: Option<HeaderValue>,
    /// Credentials to send as 'Authorization: Basic'
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials, hide_short_help = true, help_heading = "Connections")]
    pub(crate) basic: Option<HeaderValue>,
}

impl OfferOptions {
    /// The headers of the flags, without the origin of `--origin` and the subprotocols.
    ///
    /// # Errors
    /// Text for a header that two flags give.
    pub(crate) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.header {
            headers.append(name.clone(), value.clone());
        }
        let cookies = match self.cookie.as_slice() {
            [] => None,
            cookies => Some(parse::cookies(cookies.iter().map(String::as_str))?),
        };
        let of_flags = [
            ("cookie", cookies, "--cookie"),
            ("authorization", self.bearer.clone(), "--bearer"),
            ("authorization", self.basic.clone(), "--basic"),
        ];
        for (name, value, flag) in of_flags {
            let Some(value) = value else { continue };
            if headers.contains_key(name) {
                return Err(format!("give {name} once: with {flag}, or with -H"));
            }
            headers.insert(HeaderName::from_static(name), value);
        }
        if self.origin.is_some() && headers.contains_key("origin") {
            return Err("give the origin once: with --origin, or with -H".into());
        }
        Ok(headers)
    }
}
