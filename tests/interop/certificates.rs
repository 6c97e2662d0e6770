//! `test-certificates FOLDER`: writes the certificates and keys of `tests/interop`, and those of
//! the conformance suite over TLS. Each run makes new ones.

use ringway_testkit::certificates::{Authority, Identity, KeyKind, Leaf};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

fn write_identity(folder: &Path, name: &str, identity: &Identity) -> io::Result<()> {
    fs::write(folder.join(format!("{name}.pem")), identity.chain())?;
    fs::write(folder.join(format!("{name}.key")), &identity.key)
}

/// `server` has an intermediate, so that a peer that verifies it needs the whole chain. `rsa` has
/// none, for servers that send no chain; its kind of key has the most cipher suites in TLS 1.2.
fn write_all(folder: &Path) -> io::Result<()> {
    let root = Authority::root("Ringway Test Root");
    let intermediate = root.intermediate("Ringway Test Intermediate");
    let clients = Authority::root("Ringway Test Client CA");
    fs::write(folder.join("ca.pem"), root.pem())?;
    fs::write(folder.join("client-ca.pem"), clients.pem())?;
    write_identity(folder, "server", &intermediate.issue(&["localhost", "127.0.0.1"]))?;
    let rsa = Leaf::new(&["rsa.example", "localhost", "127.0.0.1"]).key(KeyKind::Rsa);
    write_identity(folder, "rsa", &root.sign(&rsa))?;
    write_identity(folder, "client", &clients.sign(&Leaf::new(&["client.example"]).client()))
}

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: test-certificates FOLDER");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test-certificates: cannot write to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
