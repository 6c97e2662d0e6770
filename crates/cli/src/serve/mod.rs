//! `ringway serve`.

mod admin;
pub(crate) mod admission;
pub(crate) mod apps;
pub(crate) mod echo;
pub(crate) mod site;
mod sockets;
pub(crate) mod topics;

use crate::arguments::Serve;
use crate::choices::DeflateMode;
use crate::exit::{ExitOutcome, Failure, machine_failure, usage};
use crate::trace::Tracer;
use crate::values::{check_cores, cores_of};
use crate::{inherited, notify, stdin};
use admin::Admin;
use apps::App;
use apps::broadcast::{BroadcastApp, BroadcastHub};
use apps::broadcast_topic::BroadcastTopicApp;
use apps::delay::DelayApp;
use apps::echo::EchoApp;
use apps::push::{PushApp, PushCounts};
use apps::sink::SinkApp;
use apps::stall::StallApp;
use apps::topics::TopicsApp;
use ringway::handover::{HandoverError, OfferOptions, Predecessor};
use ringway::placement::Assignment;
use ringway::{
    Address, BufferConfig, Config, ConfigError, DrainReport, Handler, Limits, OriginPolicy, Running, Scheme,
    ShardHandle, StartError, handover,
};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Descriptors that the process needs besides connections: standard streams, signals, and a
/// reserve.
const SPARE_FILES: u64 = 48;

/// Default of the maximum time that closing a connection takes in all.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);

/// Descriptors that a server needs besides its connections: a reserve, and for each shard a ring
/// or an epoll set, a waker and its listeners.
pub(crate) fn files_needed(listeners: usize, shards: usize) -> u64 {
    SPARE_FILES.saturating_add((shards as u64).saturating_mul(2 + listeners as u64))
}

pub(crate) fn run(arguments: &Serve) -> Result<ExitOutcome, Failure> {
    let start = Instant::now();
    match arguments.app {
        App::Echo => serve(arguments, |_| EchoApp),
        App::Broadcast => {
            let hub = Arc::new(BroadcastHub::default());
            let of_shards = Arc::clone(&hub);
            let outcome = serve(arguments, move |index| BroadcastApp::new(index, Arc::clone(&of_shards)))?;
            print(&format!("broadcast    {hub}\n"));
            Ok(outcome)
        }
        App::BroadcastTopic => serve(arguments, |_| BroadcastTopicApp),
        App::Topics => serve(arguments, |_| TopicsApp),
        App::Sink => serve(arguments, |_| SinkApp),
        App::Delay(options) => serve(arguments, move |_| DelayApp::new(options)),
        App::Stall(options) => serve(arguments, move |_| StallApp::new(options, start)),
        App::Push(options) => {
            let counts = Arc::new(PushCounts::default());
            let of_shards = Arc::clone(&counts);
            let outcome = serve(arguments, move |_| PushApp::new(options, Arc::clone(&of_shards)))?;
            print(&format!("pushed       {counts}\n"));
            Ok(outcome)
        }
    }
}

fn serve<H: Handler>(
    arguments: &Serve,
    make: impl Fn(usize) -> H + Send + Sync + 'static,
) -> Result<ExitOutcome, Failure> {
    let options = config(arguments).and_then(|config| Ok((config, limits_of(arguments)?, arguments.echo.rates()?)));
    let (config, limits, echo_rates) = match options {
        Ok(options) => options,
        Err(error) => return usage(&error.to_string()),
    };
    if let Err(error) = check_cores(arguments.cores.as_ref()) {
        return usage(&error);
    }
    let listeners = match arguments.listen.listeners(&arguments.tls) {
        Ok(listeners) => listeners,
        Err(error) => return usage(&error),
    };
    let tls = arguments.tls.config()?;
    let inherited = inherited::listeners()?;
    let mut predecessor = match &arguments.handover {
        Some(path) => handover::take_over(path)?,
        None => None,
    };
    if let Some(error) = predecessor.as_ref().and_then(|former| sockets::tls_error(arguments, former)) {
        return usage(error);
    }
    let count = if inherited.is_empty() { listeners.len() } else { inherited.len() };
    let files = crate::limits::raise_open_files();
    let shards = Assignment::of_server(&cores_of(arguments.cores.as_ref()), arguments.shards)?.threads();
    let needed =
        files_needed(count + arguments.echo.sockets(), shards) + arguments.admin.as_ref().map_or(0, |_| admin::FILES);
    if let Some(files) = files.filter(|files| *files < needed) {
        return Err(machine_failure(format!(
            "the process may open {files} files, and needs at least {needed}; raise the limit (`ulimit -n`)"
        )));
    }
    let admin = arguments.admin.as_deref().map(|address| Admin::bind(address, predecessor.as_mut())).transpose()?;
    let (server, origin) = sockets::open(arguments, &listeners, inherited, tls.as_ref(), predecessor.as_mut())?;
    let server = arguments.echo.listen(server)?.echo_rates(echo_rates);
    let tracer = arguments.trace.start()?;
    let config = config.tap(tracer.as_ref().map(Tracer::tap));
    let running = server.shards(arguments.shards).config(config).limits(limits).start(make);
    let running = running.map_err(|error| match error {
        StartError::Refused(_) => machine_failure(error),
        other => other.into(),
    })?;
    site::use_readiness(running.readiness());
    running.stop_on_signals_after(notify::stopping)?;
    let reader = running.metrics_reader();
    let metrics: admin::MetricsText = Arc::new(move || Some(reader.openmetrics()));
    let admin = admin.map(|admin| admin.start(arguments.driver.choice(), metrics)).transpose()?;
    match predecessor.map(Predecessor::release) {
        None | Some(Ok(())) => {}
        Some(Err(late @ HandoverError::Late)) => return Err(late.into()),
        Some(Err(error)) => tracing::warn!("the former server may still serve: {error}"),
    }
    if let Some(path) = &arguments.handover {
        let options = OfferOptions::new().confirm_timeout(arguments.handover_timeout)?.before(notify::stopping);
        let options = match &admin {
            Some(admin) => admin.offer(options)?,
            None => options,
        };
        running.offer_with(path, options)?;
    }
    let connections = files.map(|files| (files, files.saturating_sub(needed)));
    let origin = origin.describe(running.addresses());
    announce(&running, arguments, origin.as_deref(), connections, admin.as_ref());
    notify::ready(&status(&running));
    if arguments.stop_with_stdin {
        let handles = running.handles().to_vec();
        stdin::on_end(move || {
            notify::stopping();
            handles.iter().for_each(ShardHandle::stop);
        })?;
    }
    let result = running.wait();
    if let Some(finished) = tracer.map(Tracer::finish) {
        finished.missing.iter().for_each(|missing| tracing::warn!("{missing}"));
        IS_STUCK.store(!finished.is_read && arguments.trace.is_on_stdout(), Ordering::Relaxed);
    }
    // It answers until the drain has ended.
    if let Some(admin) = admin {
        admin.stop()?;
    }
    let reports = result?;
    if let Some(drain) = DrainReport::sum(reports.iter().filter_map(|report| report.drain)) {
        print(&format!("drained      {drain}\n"));
    }
    Ok(ExitOutcome::Good)
}

fn config(arguments: &Serve) -> Result<Config, ConfigError> {
    let buffers = BufferConfig::new().size(arguments.buffer_size)?.count(arguments.buffers)?;
    let origins = if arguments.require_origin {
        OriginPolicy::Required
    } else if arguments.origin.is_empty() {
        OriginPolicy::Any
    } else {
        OriginPolicy::List(arguments.origin.clone())
    };
    let config = Config::default()
        .cores(cores_of(arguments.cores.as_ref()))?
        .driver(arguments.driver.choice())
        .accept(arguments.accept.choice())
        .ring_entries(arguments.ring_entries)?
        .buffers(buffers)
        .busy_poll(arguments.busy_poll)?
        .handshake_timeout(arguments.handshake_timeout)?
        .keep_alive_timeout(arguments.keep_alive_timeout)?
        .idle_timeout(Some(arguments.idle_timeout).filter(|timeout| !timeout.is_zero()))?
        .write_timeout(arguments.write_timeout)?
        .close_timeout(arguments.close_timeout)?
        .close_limit(arguments.close_limit.unwrap_or(CLOSE_LIMIT.max(arguments.close_timeout)))?
        .drain_delay(arguments.drain_delay)?
        .drain_rate(arguments.drain_rate.0)?
        .stop_timeout(arguments.stop_timeout)?
        .max_lifetime(arguments.max_lifetime)?
        .lifetime_jitter(arguments.lifetime_jitter)?
        .origins(origins)?
        .subprotocols(arguments.subprotocol.iter().map(String::as_str))?
        .on_memory_limit(arguments.on_memory_limit.choice())
        .purge_allocator(Some(ringway_io::purge_mimalloc))
        .deflate(arguments.deflate.config())
        .admission(arguments.admission.admission()?)
        .connection_times(arguments.admin.is_some());
    config.check()?;
    Ok(config)
}

fn limits_of(arguments: &Serve) -> Result<Limits, ConfigError> {
    let limits = Limits::default()
        .max_message(arguments.max_message)?
        .message_timeout(arguments.message_timeout)?
        .max_head(arguments.max_head)?
        .max_headers(arguments.max_headers)?
        .max_requests(arguments.max_requests)?
        .max_buffered(arguments.max_buffered)?
        .low_water(arguments.low_water)?
        .max_connections(arguments.max_connections)?
        .max_memory(arguments.max_memory)?;
    let limits = arguments.topics.limits(arguments.admission.limits(limits)?)?;
    limits.check()?;
    Ok(limits)
}

/// One line for the service manager.
fn status<H: Handler>(running: &Running<H>) -> String {
    format!("Serving on {}, shards: {}", addresses(running).join(", "), running.assignment())
}

/// The addresses that clients connect to.
fn addresses<H: Handler>(running: &Running<H>) -> Vec<String> {
    let addresses = running.addresses().iter().zip(running.schemes());
    let text = addresses.map(|(address, scheme)| match (address, scheme) {
        (Address::Tcp(address), scheme) => format!("{scheme}://{address}"),
        (Address::Unix(address), Scheme::Ws) => address.to_string(),
        (Address::Unix(address), Scheme::Wss) => format!("{address} (TLS)"),
    });
    text.collect()
}

/// Prints the addresses, the cores, the features that the kernel grants, and the certificates. `connections` is the
/// limit of open files, and the number of connections that it allows.
fn announce<H: Handler>(
    running: &Running<H>,
    arguments: &Serve,
    origin: Option<&str>,
    connections: Option<(u64, u64)>,
    admin: Option<&admin::RunningAdmin>,
) {
    let shards = running.assignment();
    let mut text = String::new();
    for address in addresses(running) {
        text += &format!("listening on {address}\n");
    }
    text += &echo::describe(running);
    if let Some(origin) = origin {
        text += &format!("sockets      {origin}\n");
    }
    text += &format!("shards       {shards}\n");
    text += &format!("driver       {}\n", running.driver());
    if let Some(library) = running.tls_library() {
        text += &format!("tls          {library}\n");
    }
    for certificate in running.certificates() {
        text += &format!("certificate  {certificate}\n");
    }
    text += &format!("app          {}\n", arguments.app);
    match arguments.deflate {
        DeflateMode::Off => {}
        DeflateMode::Shared => text += "compression  permessage-deflate, without context takeover\n",
        DeflateMode::Takeover => text += "compression  permessage-deflate, with context takeover\n",
    }
    if let Some(trace) = arguments.trace.description() {
        text += &format!("trace        {trace}\n");
    }
    if let Some(admin) = admin {
        text += &format!("admin        {admin}\n");
    }
    if let Some((files, max)) = connections {
        text += &format!("connections  {max} at max (open files: ulimit -n {files})\n");
    }
    print(&text);
}

/// Whether the trace waits in a write to standard output that nobody reads.
static IS_STUCK: AtomicBool = AtomicBool::new(false);

/// Prints text. A closed standard output is not an error, and one that nobody reads is left alone.
fn print(text: &str) {
    if IS_STUCK.load(Ordering::Relaxed) {
        return;
    }
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
