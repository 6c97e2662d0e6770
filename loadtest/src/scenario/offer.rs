//! What the connections of a scenario offer: headers, credentials, compression, TLS.

use super::file::TlsTable;
use super::{Scenario, ScenarioError};
use crate::parse;
use crate::plan::{Offer, Target};
use ringway::{ClientTls, HeaderMap, HeaderName, HeaderValue, TlsError};
use std::ops::Range;

impl Scenario {
    /// What the connections offer to these targets.
    pub(super) fn offer(&self, targets: &[Target]) -> Result<Offer, ScenarioError> {
        let table = &self.file.offer;
        Ok(Offer {
            tls: self.tls(targets)?,
            headers: self.headers()?,
            origin: table.origin.as_ref().map(|origin| origin.get_ref().0.clone()),
            subprotocols: table.subprotocols.iter().map(|name| name.0.clone()).collect(),
            deflate: table.deflate.and_then(super::file::DeflateWord::value),
        })
    }

    fn headers(&self) -> Result<HeaderMap, ScenarioError> {
        let table = &self.file.offer;
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: HeaderValue, span: &Range<usize>| match headers.try_insert(name, value)
        {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.at(span, "this header is given twice: give it once")),
            Err(_) => Err(self.at(span, "too many headers: give fewer")),
        };
        for (name, value) in &table.headers {
            let (name, of_header) =
                parse::header_of(name, value.get_ref()).map_err(|error| self.at(&value.span(), error))?;
            add(name, of_header, &value.span())?;
        }
        let mut cookies = Vec::new();
        for (name, value) in &table.cookies {
            let cookie = format!("{name}={}", value.get_ref());
            parse::cookies([cookie.as_str()]).map_err(|error| self.at(&value.span(), error))?;
            cookies.push((cookie, value.span()));
        }
        if let Some((_, span)) = cookies.first() {
            let value = parse::cookies(cookies.iter().map(|(cookie, _)| cookie.as_str()));
            add(HeaderName::from_static("cookie"), value.map_err(|error| self.at(span, error))?, span)?;
        }
        let authorization = HeaderName::from_static("authorization");
        if let Some(token) = &table.bearer {
            let value = parse::authorization_bearer(token.get_ref()).map_err(|error| self.at(&token.span(), error))?;
            add(authorization.clone(), value, &token.span())?;
        }
        if let Some(pair) = &table.basic {
            let value = parse::authorization_basic(pair.get_ref()).map_err(|error| self.at(&pair.span(), error))?;
            add(authorization, value, &pair.span())?;
        }
        match &table.origin {
            Some(origin) if headers.contains_key("origin") => {
                Err(self.at(&origin.span(), "the origin is in `headers` as well: give it once"))
            }
            _ => Ok(headers),
        }
    }

    /// The TLS options, if a target has TLS.
    fn tls(&self, targets: &[Target]) -> Result<Option<ClientTls>, ScenarioError> {
        let is_secure = targets.iter().any(Target::is_secure);
        match &self.file.offer.tls {
            Some(table) if !is_secure => {
                Err(self.at(&table.span(), "no target has TLS: give a URL with wss://, or remove this table"))
            }
            Some(table) => self.client(table.get_ref()).map(Some).map_err(|error| self.at(&table.span(), error)),
            // Full handshakes, as without the table's `resume`.
            None if is_secure => {
                let client = ClientTls::new().map_err(|error| self.of_file(error))?;
                Ok(Some(client.resumption(false)))
            }
            None => Ok(None),
        }
    }

    fn client(&self, table: &TlsTable) -> Result<ClientTls, String> {
        let text = |error: TlsError| error.to_string();
        let mut client = match (table.insecure, table.cacert.is_empty()) {
            (true, false) => return Err("`insecure` verifies no certificate: remove it, or `cacert`".into()),
            (true, true) => ClientTls::insecure(),
            (false, true) => ClientTls::new().map_err(text)?,
            (false, false) => {
                ClientTls::with_ca_files(table.cacert.iter().map(|path| self.resolve(path))).map_err(text)?
            }
        };
        if let Some(name) = &table.servername {
            client = client.with_server_name(name).map_err(text)?;
        }
        if let Some(protocols) = &table.alpn {
            client = client.alpn(protocols).map_err(text)?;
        }
        match (&table.cert, &table.key) {
            (None, Some(_)) => return Err("`key` needs the certificate: give `cert`".into()),
            (Some(certificate), key) => {
                let key = key.as_ref().unwrap_or(certificate);
                client = client.identity_files(self.resolve(certificate), self.resolve(key)).map_err(text)?;
            }
            (None, None) => {}
        }
        Ok(client.resumption(table.resume))
    }
}
