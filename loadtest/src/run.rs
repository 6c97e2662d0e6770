//! A run from its plan to its report.

use crate::LoadError;
use crate::conductor::{Conductor, Progress};
use crate::fleet::{self, Fleet};
use crate::observe::listening::{self, Backlog, ListenSample};
use crate::observe::sampler::{GeneratorThread, Measured, Samples};
use crate::observe::server::ObservedServer;
use crate::observe::{RampFigures, machine};
use crate::place::place;
use crate::plan::Plan;
use crate::summary::{Outcome, Report, build};
use rand::Rng;
use ringway::Address;
use std::sync::Arc;
use std::time::SystemTime;

/// Runs a plan.
pub(crate) fn run(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    plan.check()?;
    fleet::check_files(plan)?;
    let started_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let seed = plan.seed.unwrap_or_else(|| rand::make_rng::<rand::rngs::StdRng>().next_u64());
    let endpoints = plan.targets.iter().map(|target| fleet::endpoint(plan, target).map(Arc::new));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<Address> = endpoints.iter().flat_map(|endpoint| endpoint.addresses().to_vec()).collect();
    let server = match (&plan.edges, plan.server_pid) {
        (Some(_), _) => ObservedServer::default(),
        (None, Some(pid)) => ObservedServer::known(pid),
        (None, None) => ObservedServer::find_any(&addresses),
    };
    let assignment = place(plan, &server)?;
    let backlog = addresses.first().map(listening::backlog);
    let known = backlog.as_ref().and_then(|backlog| backlog.as_ref().ok());
    let handshakes = plan.connect.concurrency.unwrap_or_else(|| Backlog::handshakes(known));
    let fleet = Fleet::start(plan, &assignment, endpoints, handshakes, seed)?;
    let driver = fleet.driver();
    let mut conductor = Conductor::new(plan, fleet, progress);
    let before = addresses.first().map(ListenSample::read);
    let goes_on = conductor.connect();
    let ramp = match (&before, addresses.first()) {
        (Some(before), Some(address)) => ListenSample::read(address).since(before),
        _ => RampFigures::default(),
    };
    let threads = conductor.thread_ids().iter().zip(assignment.cores());
    let generator = threads.map(|(thread, core)| GeneratorThread { thread: *thread, core: *core }).collect();
    let server = server.without(conductor.thread_ids().iter().copied());
    let measured = Measured { server: server.clone(), generator };
    let mut window = None;
    if goes_on {
        let mut begun = None;
        let mut ended = None;
        conductor.measure(|| begun = Some(Samples::take(&measured)), || ended = Some(Samples::take(&measured)));
        window = begun.zip(ended).map(|(begin, end)| end.since(&begin, &measured, None));
    }
    let mut score = conductor.close()?;
    score.cores = assignment.cores().to_vec();
    let used = window.as_ref().and_then(|window| window.server.as_ref().ok().cloned());
    let outcome = Outcome {
        plan,
        seed,
        started_at,
        handshakes,
        driver,
        assignment: &assignment,
        machine: machine::describe(),
        ramp,
        score,
        server: server.identity().zip(used),
        window,
        is_local: addresses
            .iter()
            .all(|address| address.tcp().is_none_or(|tcp| crate::observe::lookup::is_local(tcp.ip()))),
        backlog_unknown: backlog.and_then(Result::err),
    };
    Ok(build(outcome))
}
