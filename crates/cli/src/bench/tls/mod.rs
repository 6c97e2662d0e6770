//! `ringway bench --tls-cert`: our server with TLS beside the same without, and beside other servers
//! with TLS.

mod parts;
mod report;

use super::cells::Shape;
use super::child::BenchServer;
use super::contestants::EchoTarget;
use super::machine::Machine;
use super::peers::PeerProcess;
use super::report::BenchPlan;
use super::{Bench, BenchReport};
use crate::arguments::{BenchArguments, BenchFormat};
use crate::exit::{ExitOutcome, Failure};
use crate::output::ResultOutput;
use crate::tls::BenchTlsOptions;
use parts::{TlsFound, measure};
use report::TlsReport;
use ringway::ClientTls;

/// The indices of our servers in the list of contestants; peers follow them.
const PLAIN: usize = 0;
const TLS: usize = 1;
const PEERS: usize = 2;

/// The names of our servers.
const OURS: [&str; PEERS] = ["ringway", "ringway-tls"];

/// A bench with TLS.
struct TlsBench<'a> {
    bench: &'a Bench,
    arguments: &'a BenchArguments,
    options: &'a BenchTlsOptions,
    names: Vec<String>,
}

/// The process of a contestant.
enum Contestant {
    Ours(BenchServer),
    Peer(PeerProcess),
}

impl TlsBench<'_> {
    /// Starts contestant `index`. Returns `None` if a signal arrives before it has started.
    fn start(&self, index: usize) -> Result<Option<Contestant>, Failure> {
        let Some(peer) = index.checked_sub(PEERS) else {
            let [certificate, key] = [&self.options.certificate, &self.options.key].map(|path| path.to_str());
            let (Some(certificate), Some(key)) = (certificate, key) else {
                return Err(Failure("--tls-cert and --tls-key: give paths in UTF-8".into()));
            };
            let tls = ["serve", "--tls-cert", certificate, "--tls-key", key];
            let words = if index == TLS { &tls[..] } else { &tls[..1] };
            return BenchServer::start(words, self.bench).map(|server| Some(Contestant::Ours(server)));
        };
        let spec = &self.arguments.peer[peer];
        let started = PeerProcess::start(spec, &self.bench.halves.server, &self.bench.signals.stop)?;
        Ok(started.map(Contestant::Peer))
    }

    /// The address of contestant `index`, for a generator with these options if it has TLS.
    fn target(&self, index: usize, contestant: &Contestant, client: &ClientTls) -> EchoTarget {
        let target: EchoTarget = match contestant {
            Contestant::Ours(server) => server.into(),
            Contestant::Peer(peer) => peer.into(),
        };
        EchoTarget { tls: (index != PLAIN).then(|| client.clone()), ..target }
    }

    fn is_over(&self) -> bool {
        self.bench.signals.stop.is_set()
    }
}

/// Runs the bench and writes its report.
pub(super) fn run(
    bench: &Bench,
    arguments: &BenchArguments,
    options: &BenchTlsOptions,
    shapes: &[Shape],
    machine: Machine,
    started: String,
    output: ResultOutput,
) -> Result<ExitOutcome, Failure> {
    super::pinning::pin_thread(&bench.halves.generator)?;
    let names: Vec<String> =
        OURS.map(str::to_owned).into_iter().chain(arguments.peer.iter().map(|peer| peer.name.clone())).collect();
    let tls = TlsBench { bench, arguments, options, names: names.clone() };
    let mut found = TlsFound::new(shapes, names.len());
    let result = measure(&tls, &mut found);
    let interrupted = bench.signals.caught();
    if let (Err(failure), None) = (result, interrupted) {
        return Err(failure);
    }
    let base = BenchReport {
        schema_version: 1,
        version: env!("CARGO_PKG_VERSION"),
        started,
        machine,
        plan: BenchPlan::new(&bench.effort, shapes, names.clone(), &arguments.peer),
        cells: Vec::new(),
        fanout: Vec::new(),
        connect: None,
        idle: None,
        syscalls: None,
        interrupted: interrupted.is_some(),
    };
    let report = TlsReport::new(base, options.version, &names, found);
    output.write(&match arguments.format {
        BenchFormat::Text => report.to_text(),
        BenchFormat::Json => report.to_json()?,
        BenchFormat::Markdown => report.to_markdown(),
    })?;
    Ok(match interrupted {
        Some(signal) => ExitOutcome::Interrupted(signal),
        None if report.has_gaps() => ExitOutcome::Inconclusive,
        None => ExitOutcome::Good,
    })
}
