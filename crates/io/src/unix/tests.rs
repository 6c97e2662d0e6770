//! Listening on Unix sockets of the real kernel.

use super::UnixSocket;
use super::bind::UnixBindError;
use crate::{Address, BindError, Listener, UnixAddress};
use std::fs;
use std::num::NonZero;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A directory of one test, which is removed with its files.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-io-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("the directory is ours");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("app.sock")
    }

    /// The names of the files.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it exists").map(|entry| entry.expect("it can be read"));
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(path: &Path) -> UnixSocket {
    UnixSocket::new(UnixAddress::from_path(path).expect("a short path"))
}

#[track_caller]
fn refused(socket: &UnixSocket) -> UnixBindError {
    match Listener::bind_unix(socket).expect_err("it cannot be listened on") {
        BindError::Unix(address, error) => {
            assert_eq!(&address, socket.address());
            error
        }
        other => panic!("{other}"),
    }
}

/// A socket file without a server.
fn stale(path: &Path) {
    drop(UnixListener::bind(path).expect("the path is free"));
    let error = UnixStream::connect(path).expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn the_last_sibling_removes_the_file() {
    let directory = Directory::new("siblings");
    let path = directory.socket();
    let first = Listener::bind_unix(&at(&path)).expect("the path is free");
    let second = first.sibling().expect("a descriptor");
    assert_eq!(second.address(), &Address::from(UnixAddress::from_path(&path).expect("short")));
    drop(first);
    UnixStream::connect(&path).expect("the sibling listens");
    drop(second);
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

#[test]
fn a_file_without_a_server_is_replaced() {
    let directory = Directory::new("stale");
    stale(&directory.socket());
    let listener = Listener::bind_unix(&at(&directory.socket())).expect("it is replaced");
    UnixStream::connect(directory.socket()).expect("it listens");
    assert_eq!(directory.files(), ["app.sock"]);
    drop(listener);
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

#[test]
fn a_server_that_listens_is_named_and_keeps_its_file() {
    let directory = Directory::new("taken");
    let path = directory.socket();
    let _server = UnixListener::bind(&path).expect("the path is free");
    let inode = fs::metadata(&path).expect("the file").ino();
    let error = Listener::bind_unix(&at(&path)).expect_err("taken");
    let text =
        format!("cannot listen on unix:{}: process {} listens there; stop it", path.display(), std::process::id());
    assert!(error.to_string().starts_with(&text), "{error}");
    let us = NonZero::new(std::process::id());
    assert!(matches!(refused(&at(&path)), UnixBindError::Taken(pid) if pid == us));
    assert_eq!(fs::metadata(&path).expect("the file").ino(), inode);
    assert_eq!(directory.files(), ["app.sock"]);
}

#[test]
fn a_server_whose_queue_is_full_is_not_stale() {
    let directory = Directory::new("full");
    let path = directory.socket();
    let server = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a descriptor");
    server.bind(&socket2::SockAddr::unix(&path).expect("short")).expect("the path is free");
    server.listen(0).expect("bound");
    let _waiting = UnixStream::connect(&path).expect("the queue takes one");
    assert!(matches!(refused(&at(&path)), UnixBindError::Taken(None)));
    assert_eq!(directory.files(), ["app.sock"]);
}

#[test]
fn a_server_of_datagrams_is_not_stale_and_its_file_is_when_it_is_gone() {
    let directory = Directory::new("datagram");
    let server = UnixDatagram::bind(directory.socket()).expect("the path is free");
    assert!(matches!(refused(&at(&directory.socket())), UnixBindError::Taken(None)));
    drop(server);
    Listener::bind_unix(&at(&directory.socket())).expect("it is replaced");
}

#[test]
fn a_file_that_is_not_a_socket_is_never_removed() {
    let directory = Directory::new("other");
    let path = directory.socket();
    fs::write(&path, "precious").expect("the path is free");
    assert!(matches!(refused(&at(&path)), UnixBindError::NotASocket("a regular file")));
    assert_eq!(fs::read(&path).expect("it is still there"), b"precious");
    fs::remove_file(&path).expect("ours");
    fs::create_dir(&path).expect("the path is free");
    assert!(matches!(refused(&at(&path)), UnixBindError::NotASocket("a directory")));
    fs::remove_dir(&path).expect("ours");
    std::os::unix::fs::symlink("elsewhere", &path).expect("the path is free");
    assert!(matches!(refused(&at(&path)), UnixBindError::NotASocket("a symbolic link")));
    assert_eq!(directory.files(), ["app.sock"]);
}

#[test]
fn a_file_that_has_replaced_ours_is_not_removed() {
    let directory = Directory::new("replaced");
    let path = directory.socket();
    let ours = Listener::bind_unix(&at(&path)).expect("the path is free");
    fs::remove_file(&path).expect("ours");
    let _theirs = UnixListener::bind(&path).expect("the path is free");
    drop(ours);
    UnixStream::connect(&path).expect("it is still there");
}

#[test]
fn the_file_has_the_mode_and_the_owner_that_were_asked_for() {
    let directory = Directory::new("mode");
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for mode in [0o600, 0o666, 0o777] {
        let socket = at(&directory.socket()).mode(mode).expect("in range").user(user).group(group);
        let _listener = Listener::bind_unix(&socket).expect("the path is free");
        let file = fs::metadata(directory.socket()).expect("the file");
        assert_eq!((file.permissions().mode() & 0o7777, file.uid(), file.gid()), (mode, user, group));
    }
    let error = at(&directory.socket()).mode(0o1000).expect_err("out of range");
    assert_eq!(error.to_string(), "unix.mode is 512: give 0 to 511 (octal 777)");
}

#[test]
fn an_owner_that_cannot_be_set_leaves_no_file() {
    let directory = Directory::new("owner");
    let socket = at(&directory.socket());
    // Only root may give files away.
    let Err(error) = Listener::bind_unix(&socket.user(u32::MAX - 1)) else {
        println!("NOT TESTED: this process may give files to any user");
        return;
    };
    assert!(matches!(error, BindError::Unix(_, UnixBindError::Owner(_))), "{error}");
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

#[test]
fn a_missing_directory_and_a_lack_of_permission_are_named() {
    let directory = Directory::new("missing");
    let path = directory.0.join("none").join("app.sock");
    assert!(matches!(refused(&at(&path)), UnixBindError::NoDirectory(missing) if missing == directory.0.join("none")));
    fs::write(directory.0.join("file"), "").expect("ours");
    let path = directory.0.join("file").join("app.sock");
    assert!(matches!(refused(&at(&path)), UnixBindError::NoDirectory(missing) if missing == directory.0.join("file")));
    // Nobody may create files there.
    let error = refused(&at(Path::new("/sys/kernel/ringway.sock")));
    assert!(error.to_string().starts_with("no permission to create a file in /sys/kernel"), "{error}");
}

/// As a server that goes to the background after it has begun to listen.
#[test]
fn a_socket_that_outlives_the_process_that_made_it_is_not_stale() {
    let directory = Directory::new("inherited");
    let path = directory.socket();
    // The first process listens and ends; the second one, which it has started, has the socket.
    let script = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\n\
                  if os.fork(): os._exit(0)\nprint('ready', flush=True)\nsys.stdin.read()";
    let mut command = std::process::Command::new("python3");
    command.args(["-c", script]).arg(&path).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let Ok(mut first) = command.spawn() else {
        println!("NOT TESTED: python3 is not installed");
        return;
    };
    let second = first.stdin.take().expect("a pipe");
    let mut line = [0; 5];
    std::io::Read::read_exact(first.stdout.as_mut().expect("a pipe"), &mut line).expect("it listens");
    first.wait().expect("it is our child");
    assert!(matches!(refused(&at(&path)), UnixBindError::Taken(None)));
    drop(second);
    while UnixStream::connect(&path).is_ok() {}
    Listener::bind_unix(&at(&path)).expect("it is replaced");
}

#[test]
fn an_abstract_name_has_no_file_and_is_reported_when_it_is_taken() {
    let name = format!("ringway-io-{}", std::process::id());
    let socket = UnixSocket::new(UnixAddress::from_abstract_name(&name).expect("short"));
    let listener = Listener::bind_unix(&socket).expect("the name is free");
    assert_eq!(listener.address().to_string(), format!("unix:@{name}"));
    assert!(matches!(refused(&socket), UnixBindError::Taken(pid) if pid == NonZero::new(std::process::id())));
    drop(listener);
    Listener::bind_unix(&socket).expect("the name is free again");
}
