//! The interface of the simulated kernel for the table of slots.

use super::kernel::{Cqe, SimKernel, Sqe};
use crate::detached::DetachedSocket;
use crate::slab::{NOWHERE, Slab};
use crate::table::{self, Cancellable, Operation, WAKER};
use crate::{Address, ConnectOptions, Listener, Output, PeerCredentials, Pool, Slot, SourceError, TcpInfo};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

/// The number of turns that [`table::ACCEPT_PAUSE`] takes in the simulation.
pub(super) const ACCEPT_PAUSE: u32 = 64;

/// The driver's handle of the kernel, which it shares with the network.
pub(super) struct Handle {
    pub(super) shared: Rc<RefCell<SimKernel>>,
    pub(super) pool: Pool,
    /// The outputs in flight. The kernel has another reference to each.
    held: Slab<Rc<Output>>,
    turns: u32,
}

/// The listener. The kernel stops listening when it is dropped.
pub(super) struct ListenGuard(Rc<RefCell<SimKernel>>);

impl Handle {
    pub(super) fn new(shared: Rc<RefCell<SimKernel>>, pool: Pool) -> Self {
        Self { shared, pool, held: Slab::new(), turns: 0 }
    }

    pub(super) fn listener(&self) -> ListenGuard {
        self.shared.borrow_mut().listen();
        ListenGuard(Rc::clone(&self.shared))
    }

    /// One turn of the kernel.
    pub(super) fn enter(&mut self) {
        self.turns += 1;
        self.shared.borrow_mut().enter();
    }

    /// The next completion of this turn.
    pub(super) fn next_cqe(&mut self) -> Option<Cqe> {
        self.shared.borrow_mut().next_cqe()
    }

    fn submit(&mut self, operation: Operation, slot: Slot, request: Sqe) {
        self.shared.borrow_mut().submit(operation.user_data(slot), request);
    }
}

impl Drop for ListenGuard {
    fn drop(&mut self) {
        self.0.borrow_mut().stop_listening();
    }
}

impl table::SocketCalls for Handle {
    fn socket(&mut self, peer: &Address, options: &ConnectOptions) -> io::Result<RawFd> {
        let peer = peer.tcp().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let mut kernel = self.shared.borrow_mut();
        if let Some(address) = options.source.filter(|source| kernel.foreign.contains(source)) {
            let error = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
            return Err(io::Error::new(error.kind(), SourceError { address, error }));
        }
        let socket = kernel.socket(peer, options.source);
        socket.map(|descriptor| descriptor as RawFd).map_err(io::Error::from_raw_os_error)
    }

    fn shut_down(&mut self, descriptor: RawFd) {
        self.shared.borrow_mut().shutdown(descriptor as usize);
    }

    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr> {
        self.shared.borrow().peer_address(descriptor as usize)
    }

    /// The same address for all: the simulation has one host.
    fn local_address(&self, descriptor: RawFd) -> Option<SocketAddr> {
        self.peer_address(descriptor).map(|_| SocketAddr::from(([192, 0, 2, 254], 80)))
    }

    fn peer_credentials(&self, _descriptor: RawFd) -> Option<PeerCredentials> {
        None
    }

    fn acknowledged(&self, descriptor: RawFd) -> Option<u64> {
        self.shared.borrow().acknowledged(descriptor as usize)
    }

    /// The simulation has no time: a connection has no round-trip time, and no retransmits.
    fn tcp_info(&self, descriptor: RawFd) -> Option<TcpInfo> {
        self.acknowledged(descriptor).map(|_| TcpInfo::default())
    }

    fn queued(&self, _descriptor: RawFd) -> Option<u32> {
        None
    }

    fn unread(&self, descriptor: RawFd) -> usize {
        self.shared.borrow().unread(descriptor as usize)
    }

    fn is_hung_up(&self, descriptor: RawFd) -> bool {
        self.shared.borrow().is_hung_up(descriptor as usize)
    }
}

impl table::KernelInterface for Handle {
    type Listener = ListenGuard;

    fn is_unix(_listener: &ListenGuard) -> bool {
        false
    }

    fn duplicate(_listener: &ListenGuard) -> io::Result<Listener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn leaves_queue(_listener: &ListenGuard) -> bool {
        false
    }

    fn accept_queued(&mut self, _listener: &ListenGuard) -> Result<Option<RawFd>, i32> {
        let accepted = self.shared.borrow_mut().accept_queued()?;
        Ok(accepted.map(|descriptor| descriptor as RawFd))
    }

    fn accept(&mut self, _listener: &ListenGuard, slot: Slot) {
        self.submit(Operation::Accept, slot, Sqe::Accept);
    }

    fn detach(&mut self, descriptor: RawFd, _slot: Slot) -> DetachedSocket {
        DetachedSocket::Simulated(self.shared.borrow_mut().detach(descriptor as usize))
    }

    fn attach(&mut self, socket: DetachedSocket) -> Option<RawFd> {
        match socket {
            DetachedSocket::Open { .. } => None,
            DetachedSocket::Simulated(socket) => Some(self.shared.borrow_mut().attach(socket) as RawFd),
        }
    }

    fn connect(&mut self, descriptor: RawFd, slot: Slot, _peer: &Address) -> u32 {
        // The socket was created for this address.
        self.submit(Operation::Connect, slot, Sqe::Connect { descriptor: descriptor as usize });
        NOWHERE
    }

    fn receive(&mut self, descriptor: RawFd, slot: Slot) {
        self.submit(Operation::Receive, slot, Sqe::Receive { descriptor: descriptor as usize });
    }

    fn send(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        let output = Rc::new(output);
        let ticket = self.held.insert(Rc::clone(&output));
        self.submit(Operation::Send, slot, Sqe::Send { descriptor: descriptor as usize, output });
        ticket
    }

    fn send_in_parts(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.send(descriptor, slot, output)
    }

    fn take_back(&mut self, ticket: u32) -> Option<Output> {
        let output = Rc::into_inner(self.held.remove(ticket)?);
        if output.is_none() {
            self.violated(format_args!("an output is taken back that the kernel still has"));
        }
        output
    }

    fn cancel(&mut self, target: Cancellable, slot: Slot) {
        self.submit(Operation::Cancel(target), slot, Sqe::Cancel { target: target.user_data(slot) });
    }

    fn close(&mut self, descriptor: RawFd, slot: Slot) {
        self.submit(Operation::Close, slot, Sqe::Close { descriptor: descriptor as usize });
    }

    fn has_unreaped(&mut self) -> bool {
        self.shared.borrow().has_cqes()
    }

    fn watch_waker(&mut self) {
        self.submit(Operation::Wake, WAKER, Sqe::WatchWaker);
    }

    fn take_wake(&mut self) -> bool {
        // The kernel has taken the wake, or reports a spurious one.
        true
    }

    fn lend(&mut self, target: u16) -> u16 {
        let mut kernel = self.shared.borrow_mut();
        while kernel.ready() < target {
            let Some(index) = self.pool.take() else { break };
            kernel.provide(index);
        }
        kernel.ready()
    }

    fn now(&self) -> Duration {
        table::ACCEPT_PAUSE * self.turns / ACCEPT_PAUSE
    }

    fn violated(&self, rule: fmt::Arguments<'_>) -> ! {
        self.shared.borrow().violated(rule)
    }
}
