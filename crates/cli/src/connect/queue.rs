//! The queues between the shard and the two other threads: commands to it, and events from it. Each
//! has a capacity in bytes, and none of them ever blocks the shard.

use super::event::{Command, Event};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The capacity of each queue in bytes. One entry of any size fits into an empty queue.
pub(super) const CAPACITY: usize = 1 << 20;

/// The level at which a full queue of events is open again.
const LOW_WATER: usize = CAPACITY / 2;

/// Commands for the shard, in their order.
#[derive(Default)]
pub(super) struct Commands {
    state: Mutex<CommandState>,
    /// Notified when there is room, when a connection opens, and at the end.
    changed: Condvar,
}

#[derive(Default)]
struct CommandState {
    queue: VecDeque<Command>,
    bytes: usize,
    /// The messages of threads that wait for room.
    outside: usize,
    /// Whether a connection takes commands.
    open: bool,
    /// Whether a connection was open before.
    opened: bool,
    /// Whether the conversation has ended, so that no command is taken any more.
    ended: bool,
    /// Whether the shard has been told, and has not looked yet.
    announced: bool,
}

/// Why a command was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No connection is open.
    NotConnected,
    /// The server does not take what waits already.
    Full,
    /// The conversation has ended.
    Ended,
}

impl Commands {
    /// Adds a command when there is room, and waits until then. Returns whether the shard has to be
    /// told.
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub(super) fn push(&self, command: Command) -> Result<bool, Refused> {
        let mut state = self.lock();
        let messages = usize::from(matches!(command, Command::Send(_)));
        state.outside += messages;
        while !state.ended && state.bytes > 0 && state.bytes + command.weight() > CAPACITY {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.outside -= messages;
        state.add(command)
    }

    /// Adds a command if a connection is open and there is room. Returns whether the shard has to be
    /// told.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) fn try_push(&self, command: Command) -> Result<bool, Refused> {
        let mut state = self.lock();
        if !state.open && !state.ended {
            return Err(Refused::NotConnected);
        }
        if state.bytes > 0 && state.bytes + command.weight() > CAPACITY {
            return Err(Refused::Full);
        }
        state.add(command)
    }

    /// Takes the next command.
    pub(super) fn take(&self) -> Option<Command> {
        let mut state = self.lock();
        state.announced = false;
        let command = state.queue.pop_front()?;
        state.bytes -= command.weight();
        self.changed.notify_all();
        Some(command)
    }

    /// Gives a command back that cannot be carried out yet.
    pub(super) fn give_back(&self, command: Command) {
        let mut state = self.lock();
        state.bytes += command.weight();
        state.queue.push_front(command);
    }

    /// Sets whether a connection takes commands.
    pub(super) fn set_open(&self, open: bool) {
        let mut state = self.lock();
        state.open = open;
        state.opened |= open;
        self.changed.notify_all();
    }

    /// Waits until a connection has opened, even if it is lost again. Returns `false` if the
    /// conversation has ended.
    pub(super) fn wait_for_opening(&self) -> bool {
        let mut state = self.lock();
        while !state.opened && !state.ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.ended
    }

    /// Waits until a connection is open. Returns `false` if the conversation has ended.
    pub(super) fn wait_for_connection(&self) -> bool {
        let mut state = self.lock();
        while !state.open && !state.ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.ended
    }

    /// Waits until this time. Returns `false` if the conversation has ended.
    pub(super) fn wait_until(&self, due: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return !state.ended;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes no further command, and returns the number of messages that wait: in the queue, and for
    /// room in it.
    pub(super) fn end(&self) -> usize {
        let mut state = self.lock();
        state.ended = true;
        state.bytes = 0;
        let messages = state.queue.iter().filter(|command| matches!(command, Command::Send(_))).count();
        state.queue.clear();
        self.changed.notify_all();
        messages + state.outside
    }

    fn lock(&self) -> MutexGuard<'_, CommandState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandState {
    fn add(&mut self, command: Command) -> Result<bool, Refused> {
        if self.ended {
            return Err(Refused::Ended);
        }
        self.bytes += command.weight();
        self.queue.push_back(command);
        Ok(!std::mem::replace(&mut self.announced, true))
    }
}

/// Events for the thread that prints, in their order.
#[derive(Default)]
pub(super) struct Events {
    state: Mutex<EventState>,
    filled: Condvar,
    /// For the thread of the trace.
    room: Condvar,
}

#[derive(Default)]
struct EventState {
    queue: VecDeque<Event>,
    bytes: usize,
    /// Whether the shard waits for the low-water mark.
    full: bool,
    /// Pings and pongs that found the queue full.
    dropped: u64,
    /// Notes of the prompt that found it full.
    dropped_notes: u64,
    /// Whether nothing is taken any more.
    ended: bool,
    /// Whether the thread that prints is woken without an event.
    woken: bool,
}

impl Events {
    /// Adds an event. Returns whether the queue is full now: the shard pauses the connection then,
    /// until [`Events::take`] has returned true.
    pub(super) fn push(&self, event: Event) -> bool {
        let mut state = self.lock();
        // Control frames are handled while a connection is paused, so that their number is bounded
        // by nothing else.
        let is_control = matches!(event, Event::Ping { .. } | Event::Pong { .. });
        if is_control && state.bytes > CAPACITY {
            state.dropped += 1;
            return true;
        }
        state.bytes += event.weight();
        state.queue.push_back(event);
        state.full |= state.bytes > CAPACITY;
        self.filled.notify_one();
        state.full
    }

    /// Adds a note of the prompt, if the queue is not full: people can type faster than a stopped
    /// terminal shows what they have typed.
    pub(super) fn push_note(&self, note: String) {
        let mut state = self.lock();
        if state.bytes > CAPACITY {
            state.dropped_notes += 1;
            return;
        }
        let event = Event::Note(note);
        state.bytes += event.weight();
        state.queue.push_back(event);
        self.filled.notify_one();
    }

    /// Whether the queue is full: connecting again, of which each attempt is reported, has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.lock().bytes > CAPACITY
    }

    /// Makes [`Events::take`] return without an event.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_one();
    }

    /// Takes all events, and waits until there is one, or [`Events::wake`] is called. Returns whether
    /// the shard has to resume the connection.
    pub(super) fn take(&self, into: &mut VecDeque<Event>) -> bool {
        let mut state = self.lock();
        while state.queue.is_empty() && !std::mem::take(&mut state.woken) {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // A part of them, so that what a slow terminal has not shown still counts.
        while let Some(event) = state.queue.pop_front() {
            state.bytes -= event.weight();
            into.push_back(event);
            if into.len() >= BATCH {
                break;
            }
        }
        if state.dropped > 0 && state.queue.is_empty() {
            let dropped = std::mem::take(&mut state.dropped);
            into.push_back(Event::Note(format!("{dropped} pings and pongs are not shown")));
        }
        if state.dropped_notes > 0 && state.queue.is_empty() {
            let dropped = std::mem::take(&mut state.dropped_notes);
            into.push_back(Event::Note(format!("{dropped} answers to what was typed are not shown")));
        }
        if state.bytes <= LOW_WATER {
            self.room.notify_all();
        }
        let resumes = state.full && state.bytes <= LOW_WATER;
        state.full &= !resumes;
        resumes
    }

    /// Adds an event of the thread that traces, and waits until there is room beside messages.
    ///
    /// # Errors
    /// The event, after the end.
    pub(super) fn push_trace(&self, event: Event) -> Result<(), Event> {
        let mut state = self.lock();
        while !state.ended && state.bytes > LOW_WATER {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended {
            return Err(event);
        }
        state.bytes += event.weight();
        state.queue.push_back(event);
        self.filled.notify_one();
        Ok(())
    }

    /// Ends the queue, and returns the events that were not taken.
    pub(super) fn end(&self) -> VecDeque<Event> {
        let mut state = self.lock();
        state.ended = true;
        self.room.notify_all();
        std::mem::take(&mut state.queue)
    }

    /// Whether an event waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, EventState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that the printing thread takes at a time.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::event::Body;
    use super::*;
    use std::time::SystemTime;

    fn text(len: usize) -> Command {
        Command::Send(Body::Text("x".repeat(len)))
    }

    fn message(len: usize) -> Event {
        Event::Message { at: SystemTime::UNIX_EPOCH, body: Body::Text("x".repeat(len)) }
    }

    #[test]
    fn a_command_is_refused_without_a_connection_and_without_room() {
        let commands = Commands::default();
        assert_eq!(commands.try_push(text(1)), Err(Refused::NotConnected));
        commands.set_open(true);
        assert_eq!(commands.try_push(text(2 * CAPACITY)), Ok(true), "any size fits into an empty queue");
        assert_eq!(commands.try_push(text(1)), Err(Refused::Full));
        assert_eq!(commands.take(), Some(text(2 * CAPACITY)));
        assert_eq!((commands.try_push(text(1)), commands.try_push(text(2))), (Ok(true), Ok(false)));
        assert_eq!(commands.end(), 2);
        assert_eq!((commands.try_push(text(1)), commands.push(text(1))), (Err(Refused::Ended), Err(Refused::Ended)));
    }

    #[test]
    fn a_pushing_thread_waits_for_room() {
        let commands = Commands::default();
        assert_eq!(commands.push(text(CAPACITY)), Ok(true));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| commands.push(text(3)));
            assert_eq!(commands.take(), Some(text(CAPACITY)));
            assert!(waiting.join().expect("no panic").is_ok());
        });
        assert_eq!(commands.take(), Some(text(3)));
    }

    #[test]
    fn a_message_that_waits_for_room_at_the_end_is_counted() {
        let commands = Commands::default();
        assert_eq!(commands.push(text(CAPACITY)), Ok(true));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| commands.push(text(3)));
            while commands.lock().outside == 0 {
                std::thread::yield_now();
            }
            assert_eq!(commands.end(), 2);
            assert_eq!(waiting.join().expect("no panic"), Err(Refused::Ended));
        });
    }

    #[test]
    fn a_command_that_is_given_back_is_the_next_one() {
        let commands = Commands::default();
        for len in [1, 2] {
            assert!(commands.push(text(len)).is_ok());
        }
        let first = commands.take().expect("there are two");
        commands.give_back(first);
        assert_eq!((commands.take(), commands.take(), commands.take()), (Some(text(1)), Some(text(2)), None));
    }

    #[test]
    fn a_full_queue_of_events_is_resumed_at_its_low_water_mark() {
        let events = Events::default();
        assert!(!events.push(message(CAPACITY / 2)));
        assert!(events.push(message(CAPACITY / 2)), "with their weights they are above the capacity");
        assert!(events.push(Event::Ping { at: SystemTime::UNIX_EPOCH, payload: Vec::new() }), "and it is not kept");
        let mut taken = VecDeque::new();
        assert!(events.take(&mut taken) && events.is_empty());
        assert!(matches!(&taken[2], Event::Note(note) if note == "1 pings and pongs are not shown"), "{taken:?}");
        assert!(!events.push(message(1)));
    }

    #[test]
    fn notes_of_the_prompt_are_bounded() {
        let events = Events::default();
        for _ in 0..100 {
            events.push_note("x".repeat(CAPACITY / 10));
        }
        assert!(events.is_full() && events.lock().bytes <= CAPACITY + CAPACITY / 10 + 1024);
        let mut taken = VecDeque::new();
        events.take(&mut taken);
        let kept = taken.len() as u64 - 1;
        let left_out = format!("{} answers to what was typed are not shown", 100 - kept);
        assert!(matches!(taken.back(), Some(Event::Note(note)) if *note == left_out), "{kept} were kept");
        assert!(!events.is_full() && (8..=10).contains(&kept));
    }

    #[test]
    fn a_trace_waits_for_room_and_is_given_back_after_the_end() {
        let events = Events::default();
        let lines = |len: usize| Event::Trace("x".repeat(len));
        assert!(events.push_trace(lines(CAPACITY)).is_ok(), "any size fits into an empty queue");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| events.push_trace(lines(3)));
            let mut taken = VecDeque::new();
            assert!(!events.take(&mut taken), "the connection was not paused");
            assert!(waiting.join().expect("no panic").is_ok());
        });
        assert!(matches!(&events.end().into_iter().collect::<Vec<_>>()[..], [Event::Trace(lines)] if lines == "xxx"));
        assert!(matches!(events.push_trace(lines(5)), Err(Event::Trace(lines)) if lines.len() == 5));
    }
}
