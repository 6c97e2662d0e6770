//! The calls of [`Driver`](crate::Driver) that a driver passes to its table unchanged.

/// Implements a group of calls of [`Driver`](crate::Driver) for a driver whose field `table` is its
/// [`SlotTable`](super::SlotTable). The simulated driver checks the requests itself before it passes
/// them on.
macro_rules! forward {
    (requests) => {
        fn listen(&mut self, listener: $crate::Listener) {
            self.table.listen(listener);
        }

        fn reserve(&mut self) -> Option<$crate::Slot> {
            self.table.reserve()
        }

        fn detach(&mut self, slot: $crate::Slot) -> Option<$crate::Detached> {
            self.table.detach(slot)
        }

        fn adopt(&mut self, detached: $crate::Detached) -> $crate::Slot {
            self.table.attach(detached)
        }

        fn connect_with(
            &mut self,
            slot: $crate::Slot,
            peer: impl Into<$crate::Address>,
            options: &$crate::ConnectOptions,
        ) {
            self.table.connect(slot, &peer.into(), options);
        }

        #[inline]
        fn receive(&mut self, slot: $crate::Slot) {
            self.table.receive(slot);
        }

        #[inline]
        fn pause(&mut self, slot: $crate::Slot) {
            self.table.pause(slot);
        }

        #[inline]
        fn send(&mut self, slot: $crate::Slot, output: $crate::Output) {
            self.table.send(slot, output);
        }

        fn finish(&mut self, slot: $crate::Slot) {
            self.table.finish(slot);
        }

        fn close(&mut self, slot: $crate::Slot) {
            self.table.close(slot);
        }
    };
    (accepting) => {
        fn pause_accepting(&mut self) {
            self.table.pause_accepting($crate::table::Obstacle::Load);
        }

        fn resume_accepting(&mut self) {
            self.table.resume_accepting();
        }

        fn stop_listening(&mut self) {
            self.table.stop_listening();
        }

        fn drain_listeners(&mut self) {
            self.table.drain_listeners();
        }

        fn has_listeners(&self) -> bool {
            self.table.has_listeners()
        }

        fn duplicate_listeners(&self) -> std::io::Result<Vec<(usize, $crate::Listener)>> {
            self.table.duplicate_listeners()
        }
    };
    (datagrams) => {
        fn open_datagrams(&mut self, socket: $crate::DatagramSocket) -> std::io::Result<()> {
            self.table.kernel.open_datagrams(socket)
        }

        fn send_datagram(&mut self, datagram: $crate::Datagram) {
            self.table.send_datagram(datagram);
        }

        fn stop_datagrams(&mut self) {
            if let Some((datagrams, set)) = self.table.kernel.datagrams() {
                datagrams.stop(set);
            }
        }

        fn has_datagrams(&self) -> bool {
            self.table.kernel.has_datagrams().is_some_and(|datagrams| datagrams.is_open())
        }

        fn duplicate_datagrams(&self) -> std::io::Result<Vec<$crate::DatagramSocket>> {
            self.table.kernel.has_datagrams().map_or(Ok(Vec::new()), |datagrams| datagrams.duplicate())
        }
    };
    (queries) => {
        fn peer_address(&self, slot: $crate::Slot) -> Option<std::net::SocketAddr> {
            self.table.peer_address(slot)
        }

        fn local_address(&self, slot: $crate::Slot) -> Option<std::net::SocketAddr> {
            self.table.local_address(slot)
        }

        fn peer_credentials(&self, slot: $crate::Slot) -> Option<$crate::PeerCredentials> {
            self.table.peer_credentials(slot)
        }

        fn acknowledged(&self, slot: $crate::Slot) -> Option<u64> {
            self.table.acknowledged(slot)
        }

        fn tcp_info(&self, slot: $crate::Slot) -> Option<$crate::TcpInfo> {
            self.table.tcp_info(slot)
        }

        fn unread(&self, slot: $crate::Slot) -> usize {
            self.table.unread(slot)
        }

        fn has_backlog(&self) -> bool {
            self.table.has_backlog()
        }

        fn stats(&self) -> &$crate::Stats {
            &self.table.stats
        }
    };
}

pub(crate) use forward;
