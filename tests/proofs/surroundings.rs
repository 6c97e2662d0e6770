//! What belongs to this machine and not to the generator: the CPU time that other processes use
//! during a proof, and the time that messages take between two cores.
//!
//! The time of others is in the kernel's counters of all cores, minus the time of this process and
//! of the children that it has waited for. Interrupts are not counted: those of the proof itself are
//! among them.

use crate::frame::Cores;
use ringway::placement;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The kernel's unit of both counters: `USER_HZ`, 100 per second on all architectures.
const TICKS_PER_SECOND: f64 = 100.0;

/// The start of a measurement.
pub(crate) struct Surroundings {
    at: Instant,
    /// The ticks of others.
    ticks: f64,
}

impl Surroundings {
    pub(crate) fn begin() -> Self {
        Self { at: Instant::now(), ticks: ticks_of_others() }
    }

    /// The CPU time of others since the start, in cores.
    pub(crate) fn cores_of_others(&self) -> f64 {
        (ticks_of_others() - self.ticks) / TICKS_PER_SECOND / self.at.elapsed().as_secs_f64()
    }
}

fn ticks_of_others() -> f64 {
    let machine = fs::read_to_string("/proc/stat").expect("the kernel has it");
    let own = fs::read_to_string("/proc/self/stat").expect("the kernel has it");
    ticks_of_machine(&machine) - ticks_of_process(&own)
}

/// User, nice, system and steal of the first line (proc_stat(5)).
fn ticks_of_machine(stat: &str) -> f64 {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).expect("all cores are on the first line");
    let columns: Vec<f64> = line.split_whitespace().filter_map(|column| column.parse().ok()).collect();
    [0, 1, 2, 7].iter().map(|at| columns[*at]).sum()
}

/// `utime`, `stime`, `cutime` and `cstime`, the columns 14 to 17 (proc_pid_stat(5)). The name in
/// column 2 can contain spaces.
fn ticks_of_process(stat: &str) -> f64 {
    let (_, behind_name) = stat.rsplit_once(')').expect("the name is in parentheses");
    behind_name.split_whitespace().skip(11).take(4).filter_map(|column| column.parse::<f64>().ok()).sum()
}

/// The minimum time of a message and its reply over loopback, between blocking threads on both cores,
/// which are idle before each message and each reply: two system calls and a wake on each side, and
/// nothing of ours. The time for which the server sleeps in between is left out.
pub(crate) fn round_trip_of_idle_cores(cores: Cores) -> Duration {
    const ROUNDS: usize = 50;
    const IDLE: Duration = Duration::from_millis(20);
    const WORKS: &str = "loopback works";

    let listener = TcpListener::bind("127.0.0.1:0").expect(WORKS);
    let address = listener.local_addr().expect(WORKS);
    thread::scope(|scope| {
        scope.spawn(|| {
            placement::pin(cores.server).expect("it is in the mask");
            let (mut stream, _) = listener.accept().expect(WORKS);
            for _ in 0..ROUNDS {
                stream.read_exact(&mut [0; 8]).expect(WORKS);
                let received = Instant::now();
                thread::sleep(IDLE);
                let slept = received.elapsed().as_nanos() as u64;
                stream.write_all(&slept.to_le_bytes()).expect(WORKS);
            }
        });
        let measuring = scope.spawn(|| {
            placement::pin(cores.generator).expect("it is in the mask");
            let mut stream = TcpStream::connect(address).expect(WORKS);
            let round = |_| {
                let (sent, mut slept) = (Instant::now(), [0; 8]);
                stream.write_all(&slept).expect(WORKS);
                stream.read_exact(&mut slept).expect(WORKS);
                sent.elapsed() - Duration::from_nanos(u64::from_le_bytes(slept))
            };
            (0..ROUNDS).map(round).min().expect("there are rounds")
        });
        measuring.join().expect(WORKS)
    })
}

#[test]
fn the_columns_of_both_files_are_found() {
    let machine = "cpu  100 20 300 4000 50 6 7 80 9 10\ncpu0 1 2 3\n";
    assert_eq!(ticks_of_machine(machine).to_bits(), 500_f64.to_bits());
    let own = "42 (a (name) x) S 1 42 42 0 -1 4194304 5 6 7 8 10 20 30 40 20 0 4 0 9";
    assert_eq!(ticks_of_process(own).to_bits(), 100_f64.to_bits());
}

#[test]
fn the_time_of_this_process_is_not_that_of_others() {
    let began = ticks_of_process(&fs::read_to_string("/proc/self/stat").expect("the kernel has it"));
    // Both counters move in the same ticks, so the own time is found in the machine's.
    let machine = ticks_of_machine(&fs::read_to_string("/proc/stat").expect("the kernel has it"));
    while ticks_of_process(&fs::read_to_string("/proc/self/stat").expect("the kernel has it")) < began + 20.0 {}
    let after = ticks_of_machine(&fs::read_to_string("/proc/stat").expect("the kernel has it"));
    assert!(after - machine >= 18.0, "{machine} to {after}");
}
