//! How late a shard's alarm is, on a shard that is otherwise idle: a histogram for each driver,
//! rate, timer slack and polling policy.
//!
//!     cargo bench -p ringway-benches --bench alarm [-- SECONDS]
//!
//! The alarm is due at fixed times, as the messages of an open loop are. One that is late by more
//! than the interval is handled once for all times that have passed, and counted for each of them.

use ringway::{BusyPoll, Client, Config, Connection, Cores, DriverChoice, Handler, Message, Request, Shard};
use ringway::{Shards, Upgrade};
use std::error::Error;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

/// The time before a measurement, in which the shard gets going.
const WARM_UP: Duration = Duration::from_millis(200);

struct Waking {
    interval: Duration,
    due: Instant,
    begin: Instant,
    end: Instant,
    late: Vec<Duration>,
    done: Sender<Vec<Duration>>,
}

impl Handler for Waking {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        shard.wake_at(self.due);
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        let now = Instant::now();
        while self.due <= now {
            if self.due >= self.begin {
                self.late.push(now - self.due);
            }
            self.due += self.interval;
        }
        if self.due < self.end {
            return shard.wake_at(self.due);
        }
        let _ = self.done.send(std::mem::take(&mut self.late));
        shard.stop();
    }
}

fn measure(config: Config, rate: u32, time: Duration) -> Result<Vec<Duration>, Box<dyn Error>> {
    let (done, late) = mpsc::channel();
    let start = move |_| {
        let begin = Instant::now() + WARM_UP;
        let end = begin + time;
        let interval = Duration::from_secs(1) / rate;
        Waking { interval, due: Instant::now(), begin, end, late: Vec::new(), done: done.clone() }
    };
    let running = Client::new().config(config).shards(Shards::Count(1)).start(start)?;
    let mut late = late.recv()?;
    running.wait()?;
    late.sort_unstable();
    Ok(late)
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2);
    let core = core_affinity::get_core_ids().and_then(|cores| cores.last().copied()).ok_or("no core")?;
    println!("late by, in µs\n");
    println!("driver  rate    slack   polling    p50    p90    p99  p99.9     max");
    for (driver, driver_name) in [(DriverChoice::Uring, "uring"), (DriverChoice::Epoll, "epoll")] {
        for rate in [1000, 10_000] {
            for (slack, slack_name) in [(None, "default"), (Some(Duration::from_nanos(1)), "1 ns")] {
                for (poll, poll_name) in [
                    (BusyPoll::Off, "off"),
                    (BusyPoll::Adaptive, "adaptive"),
                    (BusyPoll::Fixed(Duration::from_micros(200)), "200 µs"),
                ] {
                    let config = Config::new().driver(driver).cores(Cores::List(vec![core.id]))?;
                    let config = config.timer_slack(slack)?.busy_poll(poll)?;
                    let late = measure(config, rate, Duration::from_secs(seconds))?;
                    let at = |share: f64| {
                        let index = (late.len() as f64 * share) as usize;
                        late.get(index.min(late.len().saturating_sub(1))).map_or(0.0, |late| late.as_secs_f64() * 1e6)
                    };
                    println!(
                        "{driver_name:<6} {rate:>6}  {slack_name:<7} {poll_name:<8} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>7.1}",
                        at(0.5),
                        at(0.9),
                        at(0.99),
                        at(0.999),
                        at(1.0)
                    );
                }
            }
        }
    }
    Ok(())
}
