//! The log of obstacles to accepting. Each test has its own log.

use super::*;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics here").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Runs the test, with the log of this thread.
    fn of(test: impl FnOnce(&Self)) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().without_time().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || test(&log));
    }

    /// The lines that contain this text.
    fn lines(&self, text: &str) -> Vec<String> {
        let bytes = self.0.lock().expect("no test panics here").clone();
        let all = String::from_utf8(bytes).expect("the log is text");
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn begun(&self) -> usize {
        self.lines("accepting pauses").len()
    }

    fn ended(&self) -> usize {
        self.lines("accepting has not paused").len()
    }
}

/// Turns for this simulated time.
fn pass(sim: &mut Sim, seconds: u32) {
    for _ in 0..seconds * ACCEPT_PAUSE {
        turn(sim);
    }
}

#[test]
fn an_obstacle_is_logged_when_it_begins_and_when_it_ends_each_time() {
    Log::of(|log| {
        let (mut sim, network, _first, _peer) = connection(Faults::none());
        for episode in 1..=3 {
            network.set_descriptor_limit(episode);
            let _waiting = network.connect();
            pass(&mut sim, 30);
            assert_eq!((log.begun(), log.ended()), (episode, episode - 1), "{:?}", log.lines(""));
            network.set_descriptor_limit(usize::MAX);
            accepted(&mut sim);
            pass(&mut sim, 70);
            assert_eq!((log.begun(), log.ended()), (episode, episode), "{:?}", log.lines(""));
        }
        assert_eq!(log.lines("raise `ulimit -n`").len(), 3);
        for line in log.lines("accepting has not paused") {
            assert!(line.contains("the process's limit of open files"), "{line}");
            // It is retried every second, and fails for 30.
            assert!(line.contains("paused 30 times in 30"), "{line}");
        }
    });
}

#[test]
fn each_error_of_accept_is_logged_with_its_remedy_and_accepting_resumes_by_itself() {
    let errors = [
        (libc::EMFILE, "raise `ulimit -n`"),
        (libc::ENFILE, "raise sysctl fs.file-max"),
        (libc::ENOBUFS, "the kernel has no memory for another socket"),
        (libc::ENOMEM, "the kernel has no memory for another socket"),
        (libc::EPERM, "accept(2) failed"),
    ];
    for (errno, text) in errors {
        Log::of(|log| {
            let (mut sim, network, _first, _peer) = connection(Faults::none());
            network.set_descriptor_error(errno);
            network.set_descriptor_limit(1);
            let _waiting = network.connect();
            pass(&mut sim, 10);
            assert_eq!((log.begun(), log.lines(text).len()), (1, 1), "errno {errno}: {:?}", log.lines(""));
            network.set_descriptor_limit(usize::MAX);
            accepted(&mut sim);
            pass(&mut sim, 70);
            assert_eq!((log.begun(), log.ended()), (1, 1), "errno {errno}: {:?}", log.lines(""));
        });
    }
}

#[test]
fn an_obstacle_that_comes_and_goes_is_logged_once() {
    Log::of(|log| {
        let (mut sim, network) = simulated(Faults::none());
        sim.limit_connections(1);
        // For an hour, a connection closes every few seconds, and the next one is accepted.
        for _ in 0..1200 {
            let _peer = network.connect();
            let slot = accepted(&mut sim);
            pass(&mut sim, 3);
            sim.close(slot);
            run_until_idle(&mut sim);
        }
        assert_eq!((log.begun(), log.ended()), (1, 0));
        assert_eq!(sim.stats().accept_pauses, 1200);
        pass(&mut sim, 70);
        assert_eq!((log.begun(), log.ended()), (1, 1));
        let end = &log.lines("accepting has not paused")[0];
        assert!(end.contains("the limit of connections") && end.contains("paused 1200 times"), "{end}");
    });
}

#[test]
fn a_turn_does_not_sleep_beyond_the_end_of_an_obstacle() {
    Log::of(|log| {
        let (mut sim, network, first, _peer) = connection(Faults::none());
        network.set_descriptor_limit(1);
        let _waiting = network.connect();
        run_until_idle(&mut sim);
        sim.close(first);
        accepted(&mut sim);
        let mut timeout = None;
        sim.table.begin_turn(&mut timeout, &mut Vec::new());
        assert!(timeout.is_some_and(|timeout| timeout <= Duration::from_secs(60)), "{timeout:?}");
        pass(&mut sim, 70);
        let mut timeout = None;
        sim.table.begin_turn(&mut timeout, &mut Vec::new());
        assert_eq!((timeout, log.ended()), (None, 1));
    });
}

#[test]
fn the_end_of_an_obstacle_is_not_logged_after_listening_has_stopped() {
    Log::of(|log| {
        let (mut sim, network, first, _peer) = connection(Faults::none());
        network.set_descriptor_limit(1);
        let _waiting = network.connect();
        run_until_idle(&mut sim);
        sim.close(first);
        sim.stop_listening();
        pass(&mut sim, 70);
        assert_eq!((log.begun(), log.ended()), (1, 0));
    });
}
