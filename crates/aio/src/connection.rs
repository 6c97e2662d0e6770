//! The state of one connection that its handles and its shard share.

use crate::error::{CloseReason, Error};
use crate::inbox::Inbox;
use crate::{Message, Request};
use ringway::ConnectionId;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;

/// The handle that receives exists.
pub(crate) const RECEIVER: u8 = 1;

/// The handle that sends exists.
pub(crate) const SENDER: u8 = 2;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Identifies it in its shard, from the beginning of an attempt on.
    id: Cell<Option<ConnectionId>>,
    /// The handles that exist.
    handles: Cell<u8>,
    /// Whether a request waits for an answer of the program.
    pub(crate) asks: bool,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    inbox: Inbox,
    /// Receiving is paused, because the inbox is full.
    is_paused: bool,
    /// The peer has violated the protocol. The connection is paused until the task has taken all
    /// messages before the violation.
    is_violated: bool,
    /// The task has taken all messages, and waits for another one.
    is_awaiting: bool,
    /// The task that receives, or that opens the connection.
    reader: Option<Waker>,
    /// The task that sends.
    writer: Option<Waker>,
    rare: Option<Box<Rare>>,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// A message of the sink that was not accepted yet.
    unsent: Option<Message>,
    subprotocol: Option<Box<str>>,
}

/// How far a connection is.
#[derive(Debug)]
enum Phase {
    Opening,
    /// The request waits for its answer.
    Requested(Box<Request>),
    /// The answer is given.
    Answered,
    Open,
    Ended(Box<Ended>),
}

#[derive(Debug)]
struct Ended {
    outcome: Outcome,
    /// The receiver has seen it.
    is_reported: bool,
}

/// How a connection has ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It was open.
    Closed(Arc<CloseReason>),
    /// It was not open, or its shard has ended.
    Failed(Error),
}

impl Outcome {
    /// The error, unless both sides have closed.
    pub(crate) fn error(&self) -> Option<Error> {
        match self {
            Self::Closed(reason) if reason.is_clean => None,
            Self::Closed(reason) => Some(Error::Ended(Arc::clone(reason))),
            Self::Failed(error) => Some(error.clone()),
        }
    }
}

/// What a task that opens a connection does next.
pub(crate) enum Opening {
    Wait,
    Answer(Box<Request>),
    Open,
    Failed(Error),
}

/// What a task that receives gets.
pub(crate) enum Received {
    Message {
        message: Message,
        /// Whether receiving is to be resumed.
        resumes: bool,
    },
    Failed(Error),
    End,
    Nothing {
        /// As above.
        resumes: bool,
    },
}

impl State {
    /// Ends the pause of receiving. Returns whether there was one.
    fn take_pause(&mut self) -> bool {
        let is_violated = std::mem::take(&mut self.is_violated);
        std::mem::take(&mut self.is_paused) || is_violated
    }
}

impl Connection {
    /// A connection with both handles. `asks`: its request is to be answered by the program.
    pub(crate) fn new(asks: bool) -> Self {
        let state = State {
            phase: Phase::Opening,
            inbox: Inbox::default(),
            is_paused: false,
            is_violated: false,
            is_awaiting: false,
            reader: None,
            writer: None,
            rare: None,
        };
        Self { id: Cell::new(None), handles: Cell::new(RECEIVER | SENDER), asks, state: RefCell::new(state) }
    }

    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.id.get()
    }

    pub(crate) fn identify(&self, id: ConnectionId) {
        self.id.set(Some(id));
    }

    /// Whether a handle exists.
    pub(crate) fn is_held(&self) -> bool {
        self.handles.get() != 0
    }

    /// Notes that a handle was dropped. Returns whether it was the last one.
    pub(crate) fn release(&self, handle: u8) -> bool {
        self.handles.set(self.handles.get() & !handle);
        !self.is_held()
    }

    pub(crate) fn has_receiver(&self) -> bool {
        self.handles.get() & RECEIVER != 0
    }

    // The side of the shard. Wakers that are returned are woken when the shard is not in use.

    /// Notes the request, which waits for its answer.
    pub(crate) fn requested(&self, request: Request) -> Option<Waker> {
        let mut state = self.state.borrow_mut();
        state.phase = Phase::Requested(Box::new(request));
        state.reader.take()
    }

    /// The connection is open.
    pub(crate) fn opened(&self, id: ConnectionId, subprotocol: Option<&str>) -> Option<Waker> {
        self.id.set(Some(id));
        let mut state = self.state.borrow_mut();
        state.phase = Phase::Open;
        if let Some(name) = subprotocol {
            state.rare.get_or_insert_default().subprotocol = Some(name.into());
        }
        state.reader.take()
    }

    /// Takes a message. Returns whether receiving pauses now.
    pub(crate) fn received(&self, message: Message) -> (Option<Waker>, bool) {
        let mut state = self.state.borrow_mut();
        state.inbox.push(message);
        state.is_awaiting = false;
        let pauses = state.inbox.is_full() && !state.is_paused;
        state.is_paused |= pauses;
        (state.reader.take(), pauses)
    }

    /// The peer has violated the protocol. Returns whether the connection goes on until the task has
    /// taken the messages before the violation, and asks for another one; at most for the close
    /// timeout.
    pub(crate) fn postpones_violation(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let postpones = !state.is_awaiting && self.has_receiver();
        state.is_violated |= postpones;
        postpones
    }

    /// Output has drained.
    pub(crate) fn drained(&self) -> Option<Waker> {
        self.state.borrow_mut().writer.take()
    }

    /// The connection has ended. The first outcome counts.
    pub(crate) fn ended(&self, outcome: Outcome) -> [Option<Waker>; 2] {
        let mut state = self.state.borrow_mut();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(Box::new(Ended { outcome, is_reported: false }));
        }
        [state.reader.take(), state.writer.take()]
    }

    /// The bytes of messages that were not taken.
    pub(crate) fn held(&self) -> usize {
        self.state.borrow().inbox.bytes()
    }

    // The side of the handles.

    /// What a task that opens the connection does next; it is woken when that changes.
    pub(crate) fn poll_opening(&self, waker: &Waker) -> Opening {
        let mut state = self.state.borrow_mut();
        match &mut state.phase {
            Phase::Open => Opening::Open,
            // It was open, and may have received messages.
            Phase::Ended(ended) if matches!(ended.outcome, Outcome::Closed(_)) => Opening::Open,
            Phase::Ended(ended) => Opening::Failed(ended.outcome.error().unwrap_or(Error::Closed)),
            Phase::Requested(_) => match std::mem::replace(&mut state.phase, Phase::Answered) {
                Phase::Requested(request) => Opening::Answer(request),
                _ => Opening::Wait,
            },
            Phase::Opening | Phase::Answered => {
                let former = state.reader.replace(waker.clone());
                drop(state);
                drop(former);
                Opening::Wait
            }
        }
    }

    /// Takes a message, or the end. The task is woken when there is one.
    pub(crate) fn poll_received(&self, waker: &Waker) -> Received {
        let mut state = self.state.borrow_mut();
        if let Some(message) = state.inbox.pop() {
            let resumes = state.is_paused && !state.is_violated && state.inbox.has_room();
            state.is_paused &= !resumes;
            return Received::Message { message, resumes };
        }
        if let Phase::Ended(ended) = &mut state.phase {
            if std::mem::replace(&mut ended.is_reported, true) {
                return Received::End;
            }
            return ended.outcome.error().map_or(Received::End, Received::Failed);
        }
        state.is_awaiting = true;
        let resumes = state.take_pause();
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(waker)) {
            let former = state.reader.replace(waker.clone());
            drop(state);
            drop(former);
        }
        Received::Nothing { resumes }
    }

    /// Wakes the task that sends when output has drained, or the connection has ended.
    pub(crate) fn await_writable(&self, waker: &Waker) {
        let former = self.state.borrow_mut().writer.replace(waker.clone());
        drop(former);
    }

    /// Drops the messages that were not taken. Returns their bytes, and whether receiving was paused.
    pub(crate) fn discard(&self) -> (usize, bool) {
        let mut state = self.state.borrow_mut();
        let (inbox, was_paused) = (std::mem::take(&mut state.inbox), state.take_pause());
        let former = state.reader.take();
        drop(state);
        drop(former);
        (inbox.bytes(), was_paused)
    }

    pub(crate) fn take_unsent(&self) -> Option<Message> {
        self.state.borrow_mut().rare.as_mut()?.unsent.take()
    }

    /// Keeps a message until it is accepted. Returns it if another one is kept.
    pub(crate) fn keep_unsent(&self, message: Message) -> Result<(), Message> {
        let mut state = self.state.borrow_mut();
        let unsent = &mut state.rare.get_or_insert_default().unsent;
        if unsent.is_some() {
            return Err(message);
        }
        *unsent = Some(message);
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.borrow().phase, Phase::Open)
    }

    /// How the connection has ended; `None` before.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match &self.state.borrow().phase {
            Phase::Ended(ended) => Some(ended.outcome.clone()),
            _ => None,
        }
    }

    pub(crate) fn subprotocol(&self) -> Option<String> {
        self.state.borrow().rare.as_ref()?.subprotocol.as_deref().map(str::to_owned)
    }
}
