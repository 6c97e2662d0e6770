//! A run from its plan to its report.

use crate::LoadError;
use crate::conductor::{Conductor, Progress};
use crate::fleet::{self, Fleet};
use crate::observe::listening::{Backlog, ListenSample, lowest_backlog};
use crate::observe::sampler::{self, GeneratorThread, Measured};
use crate::observe::server::ObservedServer;
use crate::observe::{RampFigures, link, lookup, machine};
use crate::place::place;
use crate::plan::{Plan, Transport};
use crate::summary::{Outcome, Report, build};
use rand::Rng;
use ringway::{Address, Endpoint};
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

/// Runs a plan.
pub(crate) fn run(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    plan.check()?;
    fleet::check_files(plan)?;
    let started_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let seed = plan.seed.unwrap_or_else(|| rand::make_rng::<rand::rngs::StdRng>().next_u64());
    let endpoints = plan.targets.iter().map(|target| fleet::endpoint(plan, target).map(Arc::new));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let path = Path::of(&endpoints);
    let mut missing = Vec::new();
    // The server is looked for before the ramp, which changes what its sockets show.
    let server = match (&plan.edges, plan.server_pid) {
        (Some(_), _) => ObservedServer::default(),
        (None, Some(pid)) => ObservedServer::known(pid),
        (None, None) if plan.transport() == Transport::Udp => ObservedServer::of_datagrams(),
        (None, None) => ObservedServer::find_all(path.targets.iter().map(Vec::as_slice)),
    };
    let assignment = place(plan, &server)?;
    // Datagrams wait in no accept queue.
    let accepting = if plan.transport() == Transport::Udp { &[][..] } else { &path.addresses };
    let backlog = lowest_backlog(accepting).map_err(|why| missing.push(why)).ok();
    let handshakes = plan.connect.concurrency.unwrap_or_else(|| Backlog::handshakes(backlog.as_ref()));
    let link_bits_per_second = path.link_bits_per_second().map_err(|why| missing.push(why)).unwrap_or(None);
    let fleet = Fleet::start(plan, &assignment, endpoints, handshakes, seed)?;
    let driver = fleet.driver();
    let mut conductor = Conductor::new(plan, fleet, progress);
    let before = ListenSample::read(accepting);
    let goes_on = conductor.connect();
    let ramp: RampFigures = ListenSample::read(accepting).since(&before);
    let threads = conductor.thread_ids();
    let generator = threads.iter().zip(assignment.cores());
    let generator = generator.map(|(thread, core)| GeneratorThread { thread: *thread, core: *core }).collect();
    let server = server.without(threads);
    let mut window = None;
    if goes_on {
        let (edges, received) = mpsc::channel();
        let sampler = sampler::spawn(Measured { server: server.clone(), generator }, received);
        conductor.measure(&edges);
        // Without an end the sampler gives up.
        drop(edges);
        match sampler {
            Ok(sampler) => window = sampler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => missing.push(format!("the CPU time of both sides: the thread that samples it: {error}")),
        }
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
        machine: machine::describe_machine(),
        ramp,
        score,
        server: server.identity().cloned().zip(used),
        window,
        is_local: path.is_local(),
        link_bits_per_second,
        missing,
    };
    Ok(build(outcome))
}

/// The ways to the servers.
struct Path {
    /// The addresses of each target; equal ones once.
    targets: Vec<Vec<Address>>,
    /// Each address once.
    addresses: Vec<Address>,
}

impl Path {
    fn of(endpoints: &[Arc<Endpoint>]) -> Self {
        let (mut targets, mut addresses): (Vec<Vec<Address>>, Vec<Address>) = Default::default();
        for target in endpoints.iter().map(|endpoint| endpoint.addresses().to_vec()) {
            if targets.contains(&target) {
                continue;
            }
            for address in &target {
                if !addresses.contains(address) {
                    addresses.push(address.clone());
                }
            }
            targets.push(target);
        }
        Self { targets, addresses }
    }

    /// The IP addresses of other machines.
    fn distant(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .filter_map(|address| address.tcp())
            .map(|tcp| tcp.ip())
            .filter(|ip| !lookup::is_local(*ip))
    }

    /// Whether all servers are on this machine.
    fn is_local(&self) -> bool {
        self.distant().next().is_none()
    }

    /// The speed of the network to the servers, if they share one way: there is one address on
    /// another machine, and none on this one.
    ///
    /// # Errors
    /// A sentence with the reason why it is unknown.
    fn link_bits_per_second(&self) -> Result<Option<f64>, String> {
        let mut distant = self.distant();
        match (distant.next(), self.addresses.len()) {
            (None, _) => Ok(None),
            (Some(ip), 1) => link::bits_per_second(ip).map(Some),
            (Some(_), _) => Err("the speed of the network: there are several addresses".into()),
        }
    }
}
