//! The numbers of the process, by the names that Prometheus' own libraries use.

use procfs::process::{LimitValue, Process};
use procfs::{CurrentSI, KernelStats, ProcResult, page_size, ticks_per_second};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;

/// The numbers of this process. Those that `/proc` does not tell are left out.
struct ProcessNumbers {
    cpu_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
    /// Since 1970.
    start_seconds: Option<f64>,
    open_files: Option<u64>,
    max_files: Option<u64>,
}

impl ProcessNumbers {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = ticks_per_second() as f64;
        let max_files = process.limits().ok().map(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(max) => max,
            LimitValue::Unlimited => u64::MAX,
        });
        Ok(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            virtual_bytes: stat.vsize,
            resident_bytes: stat.rss * page_size(),
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
            start_seconds: KernelStats::current()
                .ok()
                .map(|system| system.btime as f64 + stat.starttime as f64 / ticks),
            open_files: process.fd_count().ok().map(|count| count as u64),
            max_files,
        })
    }
}

/// Writes the numbers of this process; nothing if `/proc` is not mounted.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Ok(numbers) = ProcessNumbers::read() else { return Ok(()) };
    let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
    let help = "CPU time of the process, in user mode and in the kernel";
    let cpu = encoder.encode_descriptor("process_cpu", help, seconds, MetricType::Counter)?;
    ConstCounter::new(numbers.cpu_seconds).encode(cpu)?;
    let mut gauge = |name, help, unit, number: Option<u64>| match number {
        Some(number) => {
            ConstGauge::new(number as f64).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        }
        None => Ok(()),
    };
    gauge("process_resident_memory", "Resident memory", bytes, Some(numbers.resident_bytes))?;
    gauge("process_virtual_memory", "Virtual memory", bytes, Some(numbers.virtual_bytes))?;
    gauge("process_threads", "Threads", None, Some(numbers.threads))?;
    gauge("process_open_fds", "Open file descriptors", None, numbers.open_files)?;
    gauge("process_max_fds", "The limit of open file descriptors", None, numbers.max_files)?;
    if let Some(start) = numbers.start_seconds {
        let help = "The start of the process, since 1970";
        let start_time = encoder.encode_descriptor("process_start_time", help, seconds, MetricType::Gauge)?;
        ConstGauge::new(start).encode(start_time)?;
    }
    Ok(())
}
