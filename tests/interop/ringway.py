"""The programs under test: `ringway serve`, `load` and `connect`, `interop-server`, and the example
`console`; the peer in Rust, and the certificates of a run."""

import contextlib
import itertools
import json
import re
import subprocess
from dataclasses import dataclass

import processes
import programs

# Set by `prepare`.
folder = None
program = None
server_program = None
tungstenite = None
console = None

_log_numbers = itertools.count(1)


def prepare(path):
    """Finds the programs, and makes certificates. Logs and certificates are files in the folder."""
    global folder, program, server_program, tungstenite, console
    folder = path
    program = programs.find_program("ringway", "RINGWAY_BIN")
    server_program = programs.find_program("interop-server", "RINGWAY_SERVER_BIN")
    tungstenite = programs.find_program("interop-tungstenite", "RINGWAY_TUNGSTENITE_BIN")
    console = programs.find_program("console", "RINGWAY_CONSOLE_BIN", example=True)
    processes.output_of([programs.find_program("test-certificates", "RINGWAY_CERTIFICATES_BIN"), folder])


def file(name):
    """The path of a file in the folder of the run, as text."""
    return str(folder / name)


def write(name, content):
    """Writes a file, and returns its path as text."""
    (folder / name).write_text(content, encoding="utf-8")
    return file(name)


def log(name):
    """The path of a new log file."""
    return folder / f"{next(_log_numbers):02}-{name}.log"


def identity(name):
    """The flags for a certificate and its key."""
    return ["--tls-cert", file(f"{name}.pem"), "--tls-key", file(f"{name}.key")]


@dataclass
class Server:
    """A running `ringway serve` or `interop-server`."""

    # The port of the first TCP listener, or None.
    port: "int | None"
    child: subprocess.Popen
    is_stopped: bool = False

    @property
    def url(self):
        return f"wss://localhost:{self.port}/"

    @property
    def plain_url(self):
        return f"ws://127.0.0.1:{self.port}/"

    def stop(self):
        """Asks the server to end."""
        self.is_stopped = True
        self.child.terminate()

    def ended(self):
        """How the next connection of `interop-server` has ended; waits for its end."""
        return json.loads(self.child.stdout.readline())


@contextlib.contextmanager
def listening(name, command):
    """Runs a server until the block is left. It must still run then, unless it was stopped."""
    with open(log(name), "wb") as stderr:
        with processes.running(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as child:
            with child.stdout:
                # The server prints its addresses once it listens.
                line = child.stdout.readline()
                if not line.startswith("listening on "):
                    raise processes.Failure(f"{' '.join(command)} did not listen; log: {stderr.name}")
                port = re.search(r":(\d+)$", line.strip())
                server = Server(port and int(port[1]), child)
                yield server
                if not server.is_stopped and child.poll() is not None:
                    raise processes.Failure(f"{name} ended with {processes.describe_exit(child)}; log: {stderr.name}")


def serve(*options, listen="127.0.0.1:0"):
    """`ringway serve`."""
    return listening("serve", [program, "serve", "--shards", "1", "--listen", listen, *options])


def obedient(*options):
    """`interop-server`, which does what its client asks for."""
    return listening("interop-server", [server_program, *options])


def serve_tls(*options, identities=("server",)):
    """A TLS server with these certificates."""
    pairs = itertools.chain.from_iterable(identity(name) for name in identities)
    return serve(*pairs, *options)


@dataclass(frozen=True)
class Load:
    """The outcome of `ringway load`."""

    status: int
    report: dict
    stderr: str


def load(url, *options, connections=1, messages=10):
    """Runs `ringway load`, which verifies each echo."""
    command = [program, "load", "-c", str(connections), "-n", str(messages), "-t", "1", "-w", "0", "--verify", "all",
               "--format", "json", *options, url]  # fmt: skip
    with processes.running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        stdout, stderr = child.communicate()
    return Load(child.returncode, json.loads(stdout) if stdout else {}, stderr)


def check_load(test, url, *options, connections=1, messages=10):
    """Asserts that `ringway load` exchanges the messages with the server."""
    loaded = load(url, *options, connections=connections, messages=messages)
    counted = {key: loaded.report.get("messages", {}).get(key) for key in ("sent", "received", "missing")}
    expected = {"sent": messages, "received": messages, "missing": 0}
    test.assertEqual((loaded.status, counted), (0, expected), f"ringway load {url}: {loaded.stderr}{loaded.report}")
    return loaded.report
