//! Contract violations that panic: of the user towards the driver, and of the driver towards the
//! kernel.

use super::*;

#[test]
#[should_panic(expected = "seed 42, turn 1: slot 0.0 has a send in flight")]
fn a_second_send_in_flight_is_refused() {
    let (mut sim, _network, slot, _peer) = connection(Faults::none());
    sim.send(slot, output(b"one"));
    sim.send(slot, output(b"two"));
}

#[test]
#[should_panic(expected = "seed 42, turn 2: slot 0.0 sends after")]
fn a_send_after_the_end_of_the_sending_direction_is_refused() {
    let (mut sim, _network, slot, _peer) = connection(Faults::none());
    sim.send(slot, output(b"one"));
    sim.finish(slot);
    run_until_idle(&mut sim);
    sim.send(slot, output(b"two"));
}

#[test]
#[should_panic(expected = "seed 42, turn 0: slot 0.0 sends before it is connected")]
fn a_send_before_connecting_is_refused() {
    let (mut sim, _network) = simulated(Faults::none());
    let slot = sim.reserve().expect("a slot");
    sim.connect(slot, SocketAddr::from(([198, 51, 100, 1], 443)));
    sim.send(slot, output(b"one"));
}

#[test]
#[should_panic(expected = "slot 0.0 was connected or accepted before")]
fn a_second_connect_is_refused() {
    let (mut sim, _network, slot, _peer) = connection(Faults::none());
    sim.connect(slot, SocketAddr::from(([198, 51, 100, 1], 443)));
}

#[test]
#[should_panic(expected = "slot 0.1 is not given out yet")]
fn a_slot_that_was_not_given_out_is_refused() {
    let (mut sim, _network, slot, _peer) = connection(Faults::none());
    sim.close(slot);
    run_until_idle(&mut sim);
    sim.receive(slot.successor());
}

#[test]
#[should_panic(expected = "seed 42, turn 2: the driver closes descriptor 0 with operations in flight")]
fn the_kernel_refuses_to_close_under_a_receive() {
    let (mut kernel, descriptor) = kernel();
    kernel.submit(2, Sqe::Receive { descriptor });
    kernel.submit(3, Sqe::Close { descriptor });
    kernel.enter();
}

#[test]
#[should_panic(expected = "two receives in flight on descriptor 0")]
fn the_kernel_refuses_a_second_receive() {
    let (mut kernel, descriptor) = kernel();
    kernel.submit(2, Sqe::Receive { descriptor });
    kernel.submit(2, Sqe::Receive { descriptor });
    kernel.enter();
}

#[test]
#[should_panic(expected = "uses descriptor 0, which is closed")]
fn the_kernel_refuses_a_closed_descriptor() {
    let (mut kernel, descriptor) = kernel();
    kernel.submit(2, Sqe::Close { descriptor });
    assert_eq!(results(&mut kernel), [(2, 0)]);
    kernel.submit(3, Sqe::Receive { descriptor });
    kernel.enter();
}
