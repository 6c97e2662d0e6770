"""Child processes that never outlive the run: each has its own process group and is ended by id."""

import contextlib
import os
import signal
import socket
import subprocess
import time

# The time in which a program must listen after its start, and end after SIGTERM.
START_SECONDS = 30
END_SECONDS = 10


class Failure(Exception):
    """An error that ends the run before its evaluation; the message is for the user."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal. `unittest` passes this exception on."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals():
    """Turns the signals that end a run into `Interrupted`, so that every child is ended."""

    def interrupt(number, _frame):
        raise Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def end(child):
    """Asks the child to end and kills it if it does not; a child that has ended is left alone."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(END_SECONDS)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


@contextlib.contextmanager
def running(command, **options):
    """The running command, as a `Popen`; it is ended when the block is left, however that happens.

    It has its own session, so that the terminal's Ctrl-C reaches only this program.
    """
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    except OSError as error:
        raise Failure(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        yield child
    finally:
        end(child)


@contextlib.contextmanager
def logged(command, log, **options):
    """Like `running`, with everything the command prints in the file `log`."""
    # Python buffers output to a file; the last lines of a killed wstest would be lost.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with open(log, "wb") as output:
        with running(command, stdout=output, stderr=subprocess.STDOUT, env=environment, **options) as child:
            yield child


def output_of(command):
    """What the command prints to stdout; its stderr goes to this program's. Raises `Failure` if
    it fails."""
    with running(command, stdout=subprocess.PIPE, text=True) as child:
        output, _ = child.communicate()
    if child.returncode != 0:
        raise Failure(f"'{' '.join(map(str, command))}' failed with {describe_exit(child)}")
    return output


def describe_exit(child):
    """The exit of a child as text: `exit status 3` or `signal SIGSEGV`."""
    if child.returncode < 0:
        return f"signal {signal.Signals(-child.returncode).name}"
    return f"exit status {child.returncode}"


def free_port():
    """A free TCP port of the loopback interface, from the system."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_listening(child, port, name):
    """Waits until a connection to the child's port succeeds. Raises `Failure` if the child ends or
    takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if child.poll() is not None:
            raise Failure(f"{name} ended with {describe_exit(child)} before it listened on port {port}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Failure(f"{name} does not listen on port {port} after {START_SECONDS} s") from None
            time.sleep(0.02)
