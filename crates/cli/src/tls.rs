//! The flags of TLS, and their conversion to the options of the library.

use crate::values::size;
use clap::{Args, ValueEnum};
use ringway::{ClientAuth, ClientTls, TlsConfig, TlsError, TlsVersion};
use std::path::PathBuf;

/// Whether clients must authenticate with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuthMode {
    /// Refuse clients without a certificate
    Required,
    /// Accept clients without a certificate
    Optional,
}

/// The maximum version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersionName {
    /// TLS 1.2 only
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 and 1.2
    #[value(name = "1.3")]
    Tls13,
}

/// The minimum version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinVersion {
    /// TLS 1.2 and 1.3
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 only
    #[value(name = "1.3")]
    Tls13,
}

/// The flags of `serve` for TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct ServeTls {
    /// Certificate chain in PEM, the server's own certificate first. With it, each --listen is TLS,
    /// unless it is written ws://ADDR:PORT. May be given several times: clients get the certificate
    /// of the name that they ask for (SNI), and otherwise the first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Vec<PathBuf>,
    /// Private key of the certificate in PEM; one for each --tls-cert, in the same order
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Vec<PathBuf>,
    /// CAs in PEM that issue the certificates of clients; clients are asked for a certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// Whether clients must have a certificate [default: required, with --tls-client-ca]
    #[arg(long, value_enum, value_name = "MODE", requires = "tls_client_ca")]
    pub(crate) tls_client_auth: Option<ClientAuthMode>,
    /// Minimum version of TLS [default: 1.2]
    #[arg(long, value_enum, value_name = "VERSION", requires = "tls_cert")]
    pub(crate) tls_min: Option<MinVersion>,
    /// Maximum plaintext bytes of a sent record, 512 to 16K; small records reduce the latency of
    /// large messages on slow links, and cost time [default: 16320]
    #[arg(long, value_name = "SIZE", requires = "tls_cert", value_parser = record_size)]
    pub(crate) tls_record_size: Option<usize>,
}

impl ServeTls {
    /// Reads the files. `None` without `--tls-cert`.
    pub(crate) fn config(&self) -> Result<Option<TlsConfig>, TlsError> {
        let mut pairs = self.tls_cert.iter().zip(&self.tls_key);
        let Some((certificate, key)) = pairs.next() else { return Ok(None) };
        let mut config = TlsConfig::from_files(certificate, key)?;
        for (certificate, key) in pairs {
            config = config.and_files(certificate, key)?;
        }
        if let Some(file) = &self.tls_client_ca {
            let auth = match self.tls_client_auth {
                None | Some(ClientAuthMode::Required) => ClientAuth::Required,
                Some(ClientAuthMode::Optional) => ClientAuth::Optional,
            };
            config = config.client_ca_file(file, auth)?;
        }
        if self.tls_min == Some(MinVersion::Tls13) {
            config = config.min_version(TlsVersion::Tls13);
        }
        if let Some(bytes) = self.tls_record_size {
            config = config.record_size(bytes)?;
        }
        Ok(Some(config))
    }
}

/// The flags of `load` for TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS, with wss://")]
pub(crate) struct LoadTls {
    /// CAs in PEM instead of those of the system; repeatable
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) cacert: Vec<PathBuf>,
    /// TLS: accept every certificate, without verification
    #[arg(short = 'k', long, conflicts_with = "cacert", help_heading = "Connections")]
    pub(crate) insecure: bool,
    /// Name for SNI and certificate [default: the host of the URL]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) servername: Option<String>,
    /// Application protocols to offer, or none [default: http/1.1]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', hide_short_help = true)]
    pub(crate) alpn: Vec<String>,
    /// Certificate chain in PEM, to authenticate this client
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of --cert in PEM [default: the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert", hide_short_help = true)]
    pub(crate) key: Option<PathBuf>,
    /// Resume TLS sessions; with load, effective with --connect-concurrency 1
    #[arg(long, hide_short_help = true)]
    pub(crate) resume: bool,
}

impl LoadTls {
    /// The options for connections to this URL; `None` unless it is `wss://`.
    ///
    /// # Errors
    /// [`LoadTlsError::Usage`] for flags of TLS with another URL.
    pub(crate) fn client(&self, url: &str) -> Result<Option<ClientTls>, LoadTlsError> {
        let is_tls = url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("wss"));
        if !is_tls {
            return match self.first_flag() {
                Some(flag) => Err(LoadTlsError::Usage(format!("{flag} is for TLS: give a URL with wss://"))),
                None => Ok(None),
            };
        }
        let mut client = match (self.insecure, self.cacert.is_empty()) {
            (true, _) => ClientTls::insecure(),
            (false, true) => ClientTls::new()?,
            (false, false) => ClientTls::with_ca_files(&self.cacert)?,
        };
        if let Some(name) = &self.servername {
            client = client.with_server_name(name)?;
        }
        match self.alpn.as_slice() {
            [] => {}
            [none] if none == "none" => client = client.alpn([""; 0])?,
            protocols => client = client.alpn(protocols)?,
        }
        if let Some(certificate) = &self.cert {
            client = client.identity_files(certificate, self.key.as_ref().unwrap_or(certificate))?;
        }
        Ok(Some(client.resumption(self.resume)))
    }

    /// The first flag that is given.
    pub(crate) fn first_flag(&self) -> Option<&'static str> {
        [
            (!self.cacert.is_empty(), "--cacert"),
            (self.insecure, "--insecure"),
            (self.servername.is_some(), "--servername"),
            (!self.alpn.is_empty(), "--alpn"),
            (self.cert.is_some(), "--cert"),
            (self.resume, "--resume"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

/// The flags of `bench` for TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct BenchTls {
    /// Certificate chain in PEM of our server, to compare it with TLS and without. Each --peer is
    /// then a server with TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Maximum version of TLS that the generator offers [default: 1.3]
    #[arg(long, value_enum, value_name = "VERSION", requires = "tls_cert")]
    pub(crate) tls_max: Option<TlsVersionName>,
}

/// The options of a bench with TLS.
pub(crate) struct BenchTlsOptions {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The highest version that is offered, as it is written.
    pub(crate) version: &'static str,
    /// Makes a full handshake for each connection.
    pub(crate) client: ClientTls,
}

impl BenchTls {
    /// Checks the files. `None` without `--tls-cert`.
    pub(crate) fn options(&self) -> Result<Option<BenchTlsOptions>, TlsError> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        TlsConfig::from_files(certificate, key)?;
        // The generator connects to servers that the bench has started itself.
        let client = ClientTls::insecure().resumption(false);
        let (version, client) = match self.tls_max {
            None | Some(TlsVersionName::Tls13) => ("1.3", client),
            Some(TlsVersionName::Tls12) => ("1.2", client.max_version(TlsVersion::Tls12)),
        };
        Ok(Some(BenchTlsOptions { certificate: certificate.clone(), key: key.clone(), version, client }))
    }
}

/// Why the options of a client could not be made.
#[derive(Debug)]
pub(crate) enum LoadTlsError {
    /// The flags do not fit together.
    Usage(String),
    /// A file or a name.
    Tls(TlsError),
}

impl From<TlsError> for LoadTlsError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

/// Plaintext bytes of a record.
fn record_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        bytes @ 512..=16_384 => Ok(bytes),
        _ => Err("give a number of bytes from 512 to 16K".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, CliCommand, Serve};
    use crate::load::arguments::Load;
    use clap::Parser;
    use ringway_testkit::certificates::{Authority, Folder, Leaf};

    fn serve(arguments: &[&str]) -> Result<Box<Serve>, clap::Error> {
        match Arguments::try_parse_from([&["ringway", "serve"], arguments].concat())?.command {
            CliCommand::Serve(serve) => Ok(serve),
            other => panic!("not serve: {other:?}"),
        }
    }

    fn load(arguments: &[&str]) -> Result<Box<Load>, clap::Error> {
        match Arguments::try_parse_from([&["ringway", "load"], arguments].concat())?.command {
            CliCommand::Load(load) => Ok(load),
            other => panic!("not load: {other:?}"),
        }
    }

    #[test]
    fn flags_need_each_other_and_have_ranges() {
        for incomplete in [
            &["--tls-cert", "a"][..],
            &["--tls-key", "a"],
            &["--tls-client-ca", "a"],
            &["--tls-min", "1.3"],
            &["--tls-record-size", "1K"],
            &["--tls-cert", "a", "--tls-key", "b", "--tls-client-auth", "optional"],
        ] {
            assert!(serve(incomplete).is_err(), "{incomplete:?}");
        }
        let pair = ["--tls-cert", "a", "--tls-key", "b"];
        for bad in [["--tls-min", "1.1"], ["--tls-record-size", "511"], ["--tls-record-size", "17K"]] {
            assert!(serve(&[&pair[..], &bad].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_flags_of_serve_are_options_of_the_server() {
        let (folder, root) = (Folder::new(), Authority::root("Test Root"));
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        let [(a, a_key), (b, b_key)] = ["a", "b"].map(|name| {
            let identity = root.issue(&[&format!("{name}.example")]);
            let (certificate, key) = folder.write_identity(name, &identity);
            (text(certificate), text(key))
        });
        let ca = text(folder.write("ca.pem", root.pem()));
        let arguments = [
            "--tls-cert",
            &a,
            "--tls-cert",
            &b,
            "--tls-key",
            &a_key,
            "--tls-key",
            &b_key,
            "--tls-client-ca",
            &ca,
            "--tls-client-auth",
            "optional",
            "--tls-min",
            "1.3",
            "--tls-record-size",
            "4K",
        ];
        let config = serve(&arguments).expect("valid flags").tls.config().expect("valid files").expect("a certificate");
        assert_eq!(config.names().collect::<Vec<_>>(), ["a.example", "b.example"]);
        let text = format!("{config:?}");
        for part in ["client_auth: Some(Optional)", "min_version: Tls13", "record_size: 4096"] {
            assert!(text.contains(part), "{text}");
        }
        let config = serve(&["--tls-cert", &a, "--tls-key", &a_key, "--tls-client-ca", &ca]).expect("valid flags");
        let text = format!("{:?}", config.tls.config().expect("valid files"));
        for part in ["client_auth: Some(Required)", "min_version: Tls12", "record_size: 16320"] {
            assert!(text.contains(part), "{text}");
        }
        let exchanged = serve(&["--tls-cert", &a, "--tls-key", &b_key]).expect("valid flags").tls.config();
        assert!(matches!(exchanged, Err(TlsError::KeyMismatch { .. })), "{exchanged:?}");
        assert!(serve(&[]).expect("valid flags").tls.config().expect("no files").is_none());
    }

    #[test]
    fn the_flags_of_load_are_options_of_the_client() {
        let (folder, root) = (Folder::new(), Authority::root("Test Root"));
        let identity = root.sign(&Leaf::new(&["client.example"]).client());
        let both = folder.write("both.pem", identity.chain() + &identity.key);
        let (both, ca) = (both.to_str().expect("UTF-8"), folder.write("ca.pem", root.pem()));
        let ca = ca.to_str().expect("UTF-8");
        let debug = |arguments: &[&str]| {
            let load = load(&[arguments, &["wss://a.example/"]].concat()).expect("valid flags");
            format!("{:?}", load.tls.client(&load.urls[0].0).expect("valid options").expect("a wss:// URL"))
        };
        let text = debug(&["--cacert", ca]);
        for part in ["trust: Given", "server_name: None", "[\"http/1.1\"]", "identity: false", "resumption: false"] {
            assert!(text.contains(part), "{text}");
        }
        let text = debug(&["-k", "--servername", "b.example", "--alpn", "h2,http/1.1", "--cert", both, "--resume"]);
        for part in ["trust: All", "b.example", "[\"h2\", \"http/1.1\"]", "identity: true", "resumption: true"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(debug(&["-k", "--alpn", "none"]).contains("alpn: []"));
        assert!(load(&["-k", "--cacert", ca, "wss://a.example/"]).is_err(), "one of them has no effect");
        assert!(load(&["--key", both, "wss://a.example/"]).is_err(), "a key needs a certificate");
    }

    #[test]
    fn the_flags_of_bench_are_those_of_a_certificate_and_of_the_client() {
        let bench = |arguments: &[&str]| match Arguments::try_parse_from([&["ringway", "bench"], arguments].concat()) {
            Ok(Arguments { command: CliCommand::Bench(bench) }) => Some(bench.tls),
            _ => None,
        };
        for incomplete in [&["--tls-cert", "a"][..], &["--tls-key", "a"], &["--tls-max", "1.2"]] {
            assert!(bench(incomplete).is_none(), "{incomplete:?}");
        }
        assert!(bench(&[]).expect("no flags").options().expect("no files").is_none());
        let (folder, identity) = (Folder::new(), Authority::root("Test Root").issue(&["a.example"]));
        let (certificate, key) = folder.write_identity("a", &identity);
        let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("UTF-8"));
        let pair = ["--tls-cert", certificate, "--tls-key", key];
        for (version, text) in [("1.2", "max_version: Tls12"), ("1.3", "max_version: Tls13")] {
            let flags = bench(&[&pair[..], &["--tls-max", version]].concat()).expect("valid flags");
            let options = flags.options().expect("valid files").expect("a certificate");
            assert_eq!(options.version, version);
            let client = format!("{:?}", options.client);
            assert!(client.contains(text) && client.contains("resumption: false"), "{client}");
        }
        let exchanged = bench(&["--tls-cert", key, "--tls-key", certificate]).expect("valid flags").options();
        assert!(exchanged.is_err(), "the files are exchanged");
    }

    #[test]
    fn flags_of_tls_need_a_tls_url() {
        let plain = load(&["ws://a.example/"]).expect("valid flags");
        assert!(matches!(plain.tls.client(&plain.urls[0].0), Ok(None)));
        for flags in [
            &["-k"][..],
            &["--cacert", "f"],
            &["--servername", "n"],
            &["--alpn", "h2"],
            &["--cert", "f"],
            &["--resume"],
        ] {
            let plain = load(&[flags, &["ws://a.example/"]].concat()).expect("valid flags");
            let Err(LoadTlsError::Usage(text)) = plain.tls.client(&plain.urls[0].0) else { panic!("{flags:?}") };
            assert!(text.ends_with(" is for TLS: give a URL with wss://"), "{text}");
        }
    }
}
