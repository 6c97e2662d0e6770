//! (e) A server whose process cannot be read: no false verdict.

use crate::frame::{Proof, prove, prove_on_two_cores};
use crate::generator::{Report, load, load_by};
use crate::servers::serve;
use ringway_tests::{ServerProcess, TestDirectory, program, run};
use std::process::Command;

/// A closed loop that saturates one side.
const LOAD: &str = "-c 50 -p 4 -t 1 -d 2s -w 0";

/// `unshare` with new namespaces, in front of the program.
fn unshare(namespaces: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).args(namespaces.split_whitespace());
    command
}

/// Whether namespaces can be made; prints why not.
fn can_unshare(name: &str, namespaces: &str) -> bool {
    let mut command = unshare(namespaces);
    command.arg("true");
    let why = match command.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    eprintln!("NOT TESTED: {name}: no namespaces of its own: {why}");
    false
}

/// What holds if the server is unknown, with the report of the same load on a known one.
fn unknown(proof: &mut Proof, report: &Report, control: &Report) {
    proof.check("server", format!("{} is null", report.at("server")), report.at("server").is_null());
    let figures = report.at("verdict.figures.server");
    proof.check("figures.server", format!("{figures} is null"), figures.is_null());
    let missing = report.at("verdict.figures.missing").to_string();
    proof.check("missing", format!("{missing} has the reason"), missing.contains("the server's CPU time: "));
    // In a closed loop nothing but the server's CPU time shows that it is the limit, and nothing
    // but a long round trip that the messages in flight are.
    proof.one_of("limited_by", report.limited_by(), &["generator", "surroundings", "inconclusive"]);
    proof.note("evidence", report.evidence());
    // The load is the same: the verdict differs by what could be read.
    let ratio = report.number("messages.per_second") / control.number("messages.per_second");
    proof.within("rate / that of the control", ratio, 0.5..=2.0);
}

fn control(proof: &mut Proof, report: &Report, server: &ServerProcess) {
    proof.part("control");
    proof.equal("server.pid", report.count("server.pid"), server.pid().into());
    proof.note("limited_by", report.limited_by());
    proof.note("evidence", report.evidence());
    proof.at_least("messages.per_second", report.number("messages.per_second"), 1.0);
}

#[test]
fn a_generator_that_cannot_see_the_process_does_not_blame_the_server() {
    const NAMESPACES: &str = "--pid --fork --mount-proc";
    if !can_unshare("e, PID namespace", NAMESPACES) {
        return;
    }
    prove_on_two_cores("e, PID namespace", |proof, cores| {
        let server = serve("echo", cores);
        let url = format!("ws://{}/", server.address());
        let arguments = format!("{LOAD} --cores {}", cores.generator);
        let known = load(&url, &arguments);
        control(proof, &known, &server);
        proof.part("generator in a PID namespace");
        let mut command = unshare(NAMESPACES);
        command.arg(program());
        unknown(proof, &load_by(command, &url, &arguments), &known);
    });
}

#[test]
fn a_server_in_another_network_namespace_is_not_blamed() {
    if !can_unshare("e, network namespace", "--net") {
        return;
    }
    prove_on_two_cores("e, network namespace", |proof, cores| {
        let directory = TestDirectory::new("proof-namespace");
        let arguments = format!("{LOAD} --cores {}", cores.generator);
        let serve = |mut command: Command, name: &str| {
            let address = format!("unix:{}", directory.file(name).display());
            command.args(["serve", "--listen", &address, "--shards", "1", "--cores", &cores.server.to_string()]);
            (ServerProcess::start(command), address)
        };
        let (server, address) = serve(Command::new(program()), "known");
        let known = load(&address, &arguments);
        control(proof, &known, &server);
        drop(server);
        // The path of a Unix socket is reachable from other network namespaces. Root may inspect
        // all of them, and finds the process; other users do not.
        let mut command = unshare("--net");
        command.arg(program());
        let (server, address) = serve(command, "unknown");
        let report = load(&address, &arguments);
        proof.part("server in a network namespace");
        if report.at("server").is_null() {
            unknown(proof, &report, &known);
        } else {
            proof.equal("server.pid", report.count("server.pid"), server.pid().into());
        }
        proof.part("generator in a user namespace");
        let mut command = unshare("");
        command.arg(program());
        unknown(proof, &load_by(command, &address, &arguments), &known);
    });
}

/// The reasons are also in the text, which is what most people read.
#[test]
fn the_text_says_that_the_process_is_unknown() {
    const NAMESPACES: &str = "--pid --fork --mount-proc";
    if !can_unshare("e, text", NAMESPACES) {
        return;
    }
    prove("e, text", |proof| {
        let server = ServerProcess::with(&["--shards", "1"]);
        let mut command = unshare(NAMESPACES);
        command.arg(program()).arg("load").arg(format!("ws://{}/", server.address()));
        command.args("-c 5 -d 300ms -w 0".split_whitespace());
        let ended = run(command);
        let said = ended.stdout.contains("its process is not known");
        let blamed = ended.stdout.contains("limited by   the server");
        proof.check("text", ended.stdout.clone(), ended.status.success() && said && !blamed);
    });
}
