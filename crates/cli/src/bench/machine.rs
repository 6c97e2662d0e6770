//! The machine that was measured: CPU, caches, kernel, virtualization.

use crate::choices::BenchDriver;
use crate::exit::Failure;
use ringway::placement::{Assignment, CoreList, Halves};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// A description of the machine. Its first keys are those of the first version of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) driver: String,
    pub(crate) server_cores: Vec<usize>,
    pub(crate) generator_cores: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) seconds_per_run: f64,
    /// The caches of the first core.
    pub(crate) caches: Vec<Cache>,
    /// The frequency governor of the first core, if it has one.
    pub(crate) governor: Option<String>,
    /// Whether this is a virtual machine.
    pub(crate) hypervisor: bool,
    /// The vendor, if the system reports one.
    pub(crate) vendor: Option<String>,
}

/// A cache.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cache {
    pub(crate) level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub(crate) kind: String,
    pub(crate) bytes: usize,
    /// The cores that share it, in the kernel's list format.
    pub(crate) cores: String,
}

impl Machine {
    /// Reads the description. `cores` is the number of cores that this process may run on.
    pub(crate) fn look(
        cores: usize,
        halves: &Halves,
        drivers: &[BenchDriver],
        rounds: usize,
        seconds_per_run: f64,
    ) -> Result<Self, Failure> {
        let machine = ringway_loadtest::describe_machine();
        let list = |of: &Assignment| of.list().map_or(Vec::new(), CoreList::into_vec);
        let (server_cores, generator_cores) = (list(&halves.server), list(&halves.generator));
        let first = server_cores.first().copied().unwrap_or(0);
        let cpu = Path::new("/sys/devices/system/cpu").join(format!("cpu{first}"));
        Ok(Self {
            cpu: machine.cpu.unwrap_or_else(|| "unknown CPU".to_owned()),
            cores,
            kernel: machine.kernel.unwrap_or_default(),
            driver: drivers.iter().map(|driver| describe(*driver)).collect::<Result<Vec<_>, _>>()?.join("; "),
            server_cores,
            generator_cores,
            rounds,
            seconds_per_run,
            caches: caches(&cpu.join("cache")),
            governor: line(cpu.join("cpufreq/scaling_governor")),
            hypervisor: machine.virtual_machine.unwrap_or(false),
            vendor: machine.vendor,
        })
    }

    /// Whether the servers and the generator shared a core or were not pinned.
    pub(crate) fn is_shared(&self) -> bool {
        self.server_cores == self.generator_cores
    }

    /// A summary of the caches: `32 KiB L1d, 1 MiB L2`.
    pub(crate) fn caches_in_words(&self) -> String {
        let of = |cache: &Cache| {
            let kind = match &*cache.kind {
                "Data" => "d",
                "Instruction" => "i",
                _ => "",
            };
            format!("{} L{}{kind}", ringway_loadtest::size(cache.bytes), cache.level)
        };
        self.caches.iter().filter(|cache| cache.kind != "Instruction").map(of).collect::<Vec<_>>().join(", ")
    }
}

/// A driver, and the features that the kernel supports. Fails if it is unavailable.
fn describe(driver: BenchDriver) -> Result<String, Failure> {
    Ok(match driver {
        BenchDriver::Uring => format!("io_uring ({})", ringway_io::uring::probe()?),
        BenchDriver::Epoll => "epoll".into(),
        BenchDriver::TokioUring => {
            ringway_io::tokio_uring::probe()?;
            "tokio-uring".into()
        }
    })
}

/// The content of a file of one line; `None` if it is empty or cannot be read.
fn line(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The caches that `folder` describes, in the order of their indices.
fn caches(folder: &Path) -> Vec<Cache> {
    let of = |index: u32| {
        let folder = folder.join(format!("index{index}"));
        Some(Cache {
            level: line(folder.join("level"))?.parse().ok()?,
            kind: line(folder.join("type"))?,
            bytes: crate::values::size(&line(folder.join("size"))?).ok()?,
            cores: line(folder.join("shared_cpu_list")).unwrap_or_default(),
        })
    };
    let mut caches: Vec<Cache> = (0..16).map_while(of).collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_read_until_there_is_no_more() {
        let folder = std::env::temp_dir().join(format!("ringway-caches-{}", std::process::id()));
        for (index, level, kind, size) in [(0, "1", "Data", "32K"), (1, "2", "Unified", "1024K")] {
            let folder = folder.join(format!("index{index}"));
            fs::create_dir_all(&folder).expect("a folder");
            for (name, value) in [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", "0-1")] {
                fs::write(folder.join(name), format!("{value}\n")).expect("a file");
            }
        }
        let found = caches(&folder);
        fs::remove_dir_all(&folder).expect("it is there");
        let cache = |level, kind: &str, bytes| Cache { level, kind: kind.into(), bytes, cores: "0-1".into() };
        assert_eq!(found, [cache(1, "Data", 32 << 10), cache(2, "Unified", 1 << 20)]);
        assert_eq!(caches(&folder), []);
    }
}
