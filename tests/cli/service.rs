//! `ringway serve` as a service: it takes sockets from a service manager, and notifies it.

use ringway_tests::{End, Ended, Frame, ServerProcess, WATCHDOG, WirePeer, finish, program};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// `ringway serve`, with its standard input moved to descriptor 3, as a service manager passes
/// sockets. `pid` is the value of LISTEN_PID, as the shell expands it: `$$` is the server itself.
fn activated(count: u32, pid: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("export LISTEN_FDS={count} LISTEN_PID={pid}; exec \"$0\" \"$@\" 3<&0 0</dev/null");
    command.arg("-c").arg(script).arg(program()).args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
    command
}

fn listening() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

fn serve(command: Command, socket: impl Into<OwnedFd>) -> ServerProcess {
    ServerProcess::start_with_stdin(command, Stdio::from(socket.into()))
}

fn refused(mut command: Command, socket: impl Into<OwnedFd>) -> Ended {
    let child = command.stdin(Stdio::from(socket.into())).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    finish(child.expect("the program starts"))
}

/// The socket of a service manager, and its value for NOTIFY_SOCKET.
fn manager() -> (UnixDatagram, String) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("ringway-manager-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let socket = UnixAddr::from_abstract_name(&name).and_then(|address| UnixDatagram::bind_addr(&address));
    let socket = socket.expect("the name is unused");
    socket.set_read_timeout(Some(WATCHDOG)).expect("it is not zero");
    (socket, format!("@{name}"))
}

/// The assignments of the next notification.
fn notification(manager: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4096];
    let len = manager.recv(&mut bytes).expect("the server notifies");
    String::from_utf8_lossy(&bytes[..len]).lines().map(str::to_owned).collect()
}

#[test]
fn it_serves_on_the_socket_of_a_service_manager_and_notifies_it() {
    let (socket, address) = listening();
    socket.set_nonblocking(true).expect("it is open");
    // It waits in the queue while no server runs.
    let mut early = WirePeer::connect(address);
    let (manager, name) = manager();
    let mut command = activated(1, "$$", &["--shards=2"]);
    command.env("NOTIFY_SOCKET", name);
    let serving = serve(command, socket.try_clone().expect("a descriptor is left"));
    let ready = notification(&manager);
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].starts_with(&format!("STATUS=Serving on ws://{address}, shards: 2")), "{ready:?}");

    assert_eq!(serving.addresses(), [address], "{:?}", serving.announced);
    let inherits =
        |line: &String| line.starts_with("sockets") && line.contains("LISTEN_FDS") && line.contains("--listen");
    assert!(serving.announced.iter().any(inherits), "{:?}", serving.announced);
    early.write(ringway_tests::RawRequest::websocket().bytes());
    early.expect_upgrade();
    early.expect_echo("queued before the start");
    let mut peer = WirePeer::open(address);
    peer.expect_echo("hello");
    assert_eq!(
        manager.set_nonblocking(true).and_then(|()| manager.recv(&mut [0; 64])).ok(),
        None,
        "stopping too early"
    );
    manager.set_nonblocking(false).expect("it is open");

    serving.signal(Signal::TERM);
    assert_eq!(notification(&manager), ["STOPPING=1", "STATUS=Closing connections"]);
    for peer in [&mut peer, &mut early] {
        assert_eq!(peer.close_code(), Some(1001));
        peer.send(&Frame::close(1001, ""));
        assert_eq!(peer.end(), End::Finished);
    }
    let (status, stderr) = serving.wait();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));

    // The manager's socket still listens: the next server takes over its queue.
    let mut between = WirePeer::connect(address);
    let again = serve(activated(1, "$$", &["--shards=1"]), socket);
    between.write(ringway_tests::RawRequest::websocket().bytes());
    between.expect_upgrade();
    between.expect_echo("queued between two servers");
    drop(again);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    for pid in ["1", "", "$$x"] {
        let (socket, address) = listening();
        let serving = serve(activated(1, pid, &["--shards=1"]), socket);
        assert_ne!(serving.address(), address, "LISTEN_PID={pid}: {:?}", serving.announced);
        WirePeer::open(serving.address()).expect_echo("hello");
    }
}

#[test]
fn a_descriptor_that_cannot_be_listened_on_is_named_with_the_remedy() {
    let (socket, address) = listening();
    let connected = std::net::TcpStream::connect(address).expect("it listens");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let file = std::fs::File::open("/dev/null").expect("a device");
    let run = |count, socket: OwnedFd| refused(activated(count, "$$", &["--shards=1"]), socket);
    for (ended, words) in [
        (run(1, connected.into()), ["descriptor 3", "does not listen", "Accept=no"]),
        (run(1, datagrams.into()), ["fd 3", "not a valid tcp socket", "ListenStream="]),
        (run(1, file.into()), ["fd 3", "not a socket", "ListenStream="]),
        (run(2, socket.into()), ["fd 4", "not a socket", "ListenStream="]),
    ] {
        let line = ended.line(1);
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    }
}

#[test]
fn a_service_manager_that_cannot_be_reached_is_reported_and_does_not_end_the_server() {
    let mut command = ringway_tests::ringway(&["serve", "--listen", "127.0.0.1:0", "--shards=1"]);
    command.env("NOTIFY_SOCKET", "/nonexistent/notify");
    let mut serving = ServerProcess::start(command);
    let warning = serving.warning();
    assert!(warning.contains("NOTIFY_SOCKET=/nonexistent/notify"), "{warning}");
    WirePeer::open(serving.address()).expect_echo("hello");
}
