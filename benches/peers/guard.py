#!/usr/bin/env python3
"""Fails when Ringway has become slower than docs/benchmarking.md claims.

Measures a few cells beside the raw echo on epoll and one Rust peer with `ringway bench`, and compares the server's CPU
time per message, theirs to ours, with the same ratio of the medians in the document. A cell passes when the median of
the paired rounds is at least BOUND of the claim. Cells that fail are measured once more, because machines are noisy.
"""

import json
import os
import re
import shlex
import statistics
import subprocess
import sys

import document
import install
from catalog import PEERS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RESULTS = os.path.join(ROOT, "docs", "benchmarking.md")

PEER = "tokio-websockets"
FLOOR = "raw epoll"
OURS = "ringway"
# connections, bytes, in flight, and the row's name in the document
CELLS = [
    (100, 20, 1, "100 × 20 B × 1"),
    (100, 20, 16, "100 × 20 B × 16"),
    (100, 16 << 10, 1, "100 × 16 KiB × 1"),
    (100, 16 << 10, 16, "100 × 16 KiB × 16"),
    (100, 64 << 10, 1, "100 × 64 KiB × 1"),
]
ROUNDS = 9
BOUND = 0.85


class Failed(Exception):
    pass


def claims(text):
    """The medians of the document's table of CPU time: {(cell, contestant): µs}."""
    found = re.search(r"\*\*Server CPU per message\*\*[^\n]*\n\n((?:\|[^\n]*\n)+)", text)
    if not found:
        raise Failed(f"{RESULTS} has no table of server CPU per message")
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in found[1].splitlines()]
    names = rows[0][1:]
    medians = {}
    for row in rows[2:]:
        for name, cell in zip(names, row[1:]):
            median = re.match(r"[\d.]+", cell)
            if median:
                medians[row[0], name] = float(median[0])
    return medians


def claimed(medians, row, contestant):
    try:
        return medians[row, contestant] / medians[row, OURS]
    except KeyError:
        raise Failed(f"{RESULTS} has no figure of {contestant} or {OURS} for {row}") from None


def measured(report):
    """{(cell, contestant): the median over paired rounds of their CPU time to ours}."""
    rounds = {}
    for entry in report["cells"]:
        shape = (entry["connections"], entry["size"], entry["in_flight"])
        rounds[shape, entry["contestant"]] = entry["rounds"]
    ratios = {}
    for (shape, contestant), theirs in rounds.items():
        pairs = [
            them["server_cpu_us_per_message"] / us["server_cpu_us_per_message"]
            for them, us in zip(theirs, rounds[shape, OURS])
            if them and us
        ]
        if pairs:
            ratios[shape, contestant] = statistics.median(pairs)
    return ratios


def bench(program, peer, cells):
    words = [program, "bench", "--format", "json", "--rounds", str(ROUNDS), "--peer", f"{PEER}={peer}"]
    words += ["--cells", ",".join(f"{connections}x{size}x{depth}" for connections, size, depth, _ in cells)]
    run = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise Failed(f"`ringway bench` ended with exit status {run.returncode}")
    return measured(json.loads(run.stdout))


def compare(medians, ratios, cells):
    """Prints a line for each comparison. Returns the cells that are below their bound."""
    below = []
    for cell in cells:
        shape, row = cell[:3], cell[3]
        for contestant in (FLOOR, PEER):
            claim, ratio = claimed(medians, row, contestant), ratios.get((shape, contestant))
            good = ratio is not None and ratio >= BOUND * claim
            got = "no figure" if ratio is None else f"{ratio:.2f}"
            verdict = "ok" if good else "BELOW"
            print(f"{row:18} to {contestant:17} {got}, documented {claim:.2f}, bound {BOUND * claim:.2f}: {verdict}", flush=True)
            if not good and cell not in below:
                below.append(cell)
    return below


def main():
    with open(RESULTS, encoding="utf-8") as file:
        medians = claims(file.read())
    document.require_markers(RESULTS)
    with install.exclusively():
        words = next(peer for peer in PEERS if peer.name == PEER).install()
    peer = shlex.join(words) + " {port}"
    program = install.build_ringway(ROOT)
    cells = CELLS
    for attempt in ("", "once more: "):
        if attempt:
            print(f"{attempt}{', '.join(row for *_, row in cells)}", flush=True)
        cells = compare(medians, bench(program, peer, cells), cells)
        if not cells:
            return 0
    print("Ringway is slower than docs/benchmarking.md claims, twice in a row", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, install.Failed, install.Unavailable, document.NoMarkers) as failure:
        sys.exit(f"guard: {failure}")
