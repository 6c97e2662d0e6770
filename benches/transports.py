#!/usr/bin/env python3
"""Measures echo over a Unix socket beside echo over TCP on the loopback interface, on both drivers, and
prints a table in Markdown.

One server for each driver listens on both transports. In each round `ringway load` measures every
combination once, in an order that changes, so that other work of the machine affects all of them. A
figure is the median of the rounds, with the minimum and the maximum in parentheses; the ratio is
the median of the ratios of each round.

    benches/transports.py --rounds 11
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile

CELLS = ["100x20x1", "1x20x1", "100x16Kx1", "100x20x16"]
DRIVERS = ["uring", "epoll"]
TRANSPORTS = ["TCP", "Unix"]


class Server:
    """An echo server on one driver, with a listener of each transport."""

    def __init__(self, program, driver, cores, directory):
        path = os.path.join(directory, f"{driver}.sock")
        command = [program, "serve", "--driver", driver, "--shards", "1", "--cores", cores]
        listeners = ["--listen", "127.0.0.1:0", "--listen", f"unix:{path}"]
        self.process = subprocess.Popen(command + listeners, stdout=subprocess.PIPE, text=True)
        prefix = "listening on ws://"
        for line in self.process.stdout:
            if line.startswith(prefix):
                self.urls = {"TCP": f"ws://{line.removeprefix(prefix).strip()}/", "Unix": f"unix:{path}:/"}
            if line.startswith("connections"):  # the last line
                return
        sys.exit(f"the server on {driver} did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(options, url, driver, cell):
    """CPU time of the server in µs a message, messages a second, and the median round trip in µs."""
    connections, size, in_flight = cell.split("x")
    command = [options.program, "load", url, "-c", connections, "-s", size, "-p", in_flight, "-b", "-t", "1"]
    command += ["--cores", options.load_cores, "--driver", driver, "-d", options.window, "-w", "100ms"]
    done = subprocess.run(command + ["--format", "json"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    report = json.loads(done.stdout)
    rate = report["messages"]["per_second"]
    cpu = report["server"]["cpu_seconds"] / (rate * report["measured_seconds"]) * 1e6
    return cpu, rate, report["latency_us"]["response"]["p50"]


def spread(values, digits):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/ringway", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--window", default="300ms", help="measured time of each run")
    parser.add_argument("--cells", default=",".join(CELLS), help="connections x size x messages in flight")
    parser.add_argument("--cores", default="0", help="core of the server")
    parser.add_argument("--load-cores", default="1", help="core of the load")
    options = parser.parse_args()
    cells = options.cells.split(",")
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        servers = {driver: Server(options.program, driver, options.cores, directory) for driver in DRIVERS}
        try:
            runs = [(cell, driver, transport) for cell in cells for driver in DRIVERS for transport in TRANSPORTS]
            for _ in range(options.rounds):
                random.shuffle(runs)
                for cell, driver, transport in runs:
                    url = servers[driver].urls[transport]
                    figures = measure(options, url, driver, cell)
                    found.setdefault((cell, driver, transport), []).append(figures)
        finally:
            for server in servers.values():
                server.stop()
    print("| cell | driver | TCP: µs | Unix: µs | ratio | TCP: round trip µs | Unix: round trip µs |")
    print("|---|---|---|---|---|---|---|")
    for cell in cells:
        for driver in DRIVERS:
            tcp, unix = (found[cell, driver, transport] for transport in TRANSPORTS)
            ratio = spread([b[0] / a[0] for a, b in zip(tcp, unix)], 2)
            cpu = [spread([run[0] for run in runs], 2) for runs in (tcp, unix)]
            latency = [spread([run[2] for run in runs], 0) for runs in (tcp, unix)]
            print(f"| {cell} | {driver} | {cpu[0]} | {cpu[1]} | {ratio} | {latency[0]} | {latency[1]} |")


if __name__ == "__main__":
    main()
