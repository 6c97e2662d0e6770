#!/usr/bin/env python3
"""Fails if Ringway is slower than docs/results/servers.md claims.

    guard.py            compares this machine with the document
    guard.py --measure  prints the rows of this machine for the document

Measures a few cells beside the raw echo on epoll and one Rust peer with `ringway bench`, and compares a ratio of
paired rounds with the same ratio of the medians in the document: that of the server's CPU time per message, theirs to
ours, and at one connection that of messages per second, ours to theirs. The ratios depend on the second-level cache: if
the document has those of a machine whose cores have as much of it as the server's core, it compares with those. A
cell passes when the median ratio is at least BOUND of the claim, or a lead that is `enough`, or the smallest of the
runs that the document names. Cells below that are measured again, because machines are noisy, and all pairs count. They
fail if so few pairs reach the bound that the median is below it with a certainty of 95 % (a sign test).
"""

import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
import typing

import document
import install
from catalog import PEERS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RESULTS = os.path.join(ROOT, "docs", "results", "servers.md")

PEER = "tokio-websockets"
FLOOR = "raw epoll"
OURS = "ringway"
# connections, bytes, in flight, and the row's name in the document
CELLS = [
    (1, 20, 1, "1 × 20 B × 1"),
    (100, 20, 1, "100 × 20 B × 1"),
    (1000, 20, 1, "1000 × 20 B × 1"),
    (100, 20, 16, "100 × 20 B × 16"),
    (100, 16 << 10, 1, "100 × 16 KiB × 1"),
    (100, 16 << 10, 16, "100 × 16 KiB × 16"),
    (100, 64 << 10, 1, "100 × 64 KiB × 1"),
]
ROUNDS = 9
# The minimum number of pairs of a figure.
MIN_PAIRS = 7
# How often cells that are below their bound are measured again.
REPEATS = 2
# The probability of a failure although the median is at the bound.
SIGNIFICANCE = 0.05
BOUND = 0.85
# The size of a large lead depends on the machine's caches and on the cost of waking a thread.
ENOUGH = 1.25
# With large messages, the lead over a peer depends mostly on the share of the third-level cache that the peer's buffers
# find: 1.12 to 1.59 over the same peer. Raw epoll has a single buffer, so its bound stays.
ENOUGH_OF_LARGE = 1.05
LARGE = 64 << 10


class Failed(Exception):
    pass


class Claim(typing.NamedTuple):
    """A ratio of the document, and the smallest of the runs of which it is the median, if there are several."""

    ratio: float
    smallest: float = math.inf

    def bound(self, size):
        return min(BOUND * self.ratio, enough(size), self.smallest)


def claims(text, cache):
    """What the document claims for machines with so many bytes of second-level cache for a core:
    {(cell, contestant): Claim}."""
    title = title_of(cache)
    if f"**{title}**" in text:
        return {key: claim_of(cell) for key, cell in table(text, title).items()}
    cpu, rate = table(text, "Server CPU per message"), table(text, "Messages per second")
    found = {}
    for cell in CELLS:
        by_rate = basis(cell[0]) == "rate"
        for contestant in (FLOOR, PEER):
            theirs, ours = (median((rate if by_rate else cpu).get((cell[3], name), "")) for name in (contestant, OURS))
            if theirs and ours:
                found[cell[3], contestant] = Claim(ours / theirs if by_rate else theirs / ours)
    return found


def title_of(cache):
    return f"Ratios with {cache >> 10} KiB of second-level cache for each core"


def table(text, title):
    """The texts of one of the document's tables: {(cell, contestant): text}."""
    found = re.search(rf"\*\*{title}\*\*[^\n]*\n\n((?:\|[^\n]*\n)+)", text)
    if not found:
        raise Failed(f"{RESULTS} has no table '{title}'")
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in found[1].splitlines()]
    return {(row[0], name): cell for row in rows[2:] for name, cell in zip(rows[0][1:], row[1:])}


def median(cell):
    """The figure in front of the range of a cell; None without one."""
    found = re.match(r"([\d.]+)( [kM])?", cell)
    return found and float(found[1]) * {None: 1, " k": 1e3, " M": 1e6}[found[2]]


def claim_of(cell):
    """The claim of `1.61 (1.07–1.70)`: the median of several runs, the smallest and the largest; or of one figure."""
    found = re.fullmatch(r"([\d.]+)(?: \(([\d.]+)–[\d.]+\))?", cell)
    if not found:
        raise Failed(f"{RESULTS} has a ratio that is none: {cell}")
    return Claim(float(found[1]), float(found[2] or math.inf))


def basis(connections):
    """The compared quantity: with one connection the rate, which depends on the round trip,
    otherwise the CPU time."""
    return "rate" if connections == 1 else "cpu"


def enough(size):
    return ENOUGH_OF_LARGE if size >= LARGE else ENOUGH


def claimed(ratios, cell, contestant):
    try:
        return ratios[cell[3], contestant]
    except KeyError:
        raise Failed(f"{RESULTS} has no figure of {contestant} or {OURS} for {cell[3]}") from None


def second_level_cache(report):
    """The bytes of the second-level cache of the server's core; 0 if they are unknown."""
    return next((cache["bytes"] for cache in report["machine"]["caches"] if cache["level"] == 2), 0)


def measured(report):
    """{(cell, contestant): the ratios of paired rounds}."""
    rounds = {}
    for entry in report["cells"]:
        shape = (entry["connections"], entry["size"], entry["in_flight"])
        rounds[shape, entry["contestant"]] = entry["rounds"]
    ratios = {}
    for (shape, contestant), theirs in rounds.items():
        paired = [(us, them) for us, them in zip(rounds[shape, OURS], theirs) if us and them]
        if basis(shape[0]) == "rate":
            of = [us["messages_per_second"] / them["messages_per_second"] for us, them in paired]
        else:
            of = [them["server_cpu_us_per_message"] / us["server_cpu_us_per_message"] for us, them in paired]
        ratios[shape, contestant] = of
    return ratios


def bench(program, peer, cells):
    words = [program, "bench", "--format", "json", "--rounds", str(ROUNDS), "--peer", f"{PEER}={peer}"]
    words += ["--cells", ",".join(f"{connections}x{size}x{depth}" for connections, size, depth, _ in cells)]
    run = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise Failed(f"`ringway bench` ended with exit status {run.returncode}")
    return json.loads(run.stdout)


def is_certain(pairs, bound):
    """Whether the median of the distribution of these pairs is below the bound, by a sign test."""
    reached = sum(pair >= bound for pair in pairs)
    as_few = sum(math.comb(len(pairs), count) for count in range(reached + 1))
    return as_few / 2 ** len(pairs) < SIGNIFICANCE


def compare(claims, ratios, cells, is_last=False):
    """Prints a line for each comparison. Returns the cells that are below their bound; in the last comparison, those that
    are so with certainty."""
    below = []
    for cell in cells:
        shape, row = cell[:3], cell[3]
        for contestant in (FLOOR, PEER):
            claim, pairs = claimed(claims, cell, contestant), ratios.get((shape, contestant), [])
            ratio = statistics.median(pairs) if len(pairs) >= MIN_PAIRS else None
            bound = claim.bound(cell[1])
            good = ratio is not None and (ratio >= bound or (is_last and not is_certain(pairs, bound)))
            got = "no figure" if ratio is None else f"{ratio:.2f}"
            verdict = "ok" if good else "BELOW"
            print(f"{row:18} to {contestant:17} {got}, documented {claim.ratio:.2f}, bound {bound:.2f}: {verdict}", flush=True)
            if not good and cell not in below:
                below.append(cell)
    return below


def rows(ratios, cache):
    """The table of the document for a machine with this cache."""
    lines = [f"**{title_of(cache)}**", "", f"| cell | {FLOOR} | {PEER} |", "|---|---:|---:|"]
    for cell in CELLS:
        medians = (f"{statistics.median(ratios[cell[:3], contestant]):.2f}" for contestant in (FLOOR, PEER))
        lines.append(f"| {cell[3]} | {' | '.join(medians)} |")
    return "\n".join(lines)


def main(measure=False):
    with open(RESULTS, encoding="utf-8") as file:
        text = file.read()
    document.require_markers(RESULTS)
    with install.exclusively():
        words = next(peer for peer in PEERS if peer.name == PEER).install()
    peer = shlex.join(words) + " {port}"
    program = install.build_ringway(ROOT)
    report = bench(program, peer, CELLS)
    ratios, cache = measured(report), second_level_cache(report)
    if measure:
        print(rows(ratios, cache))
        return 0
    claimed_here = claims(text, cache)
    cells = compare(claimed_here, ratios, CELLS)
    for repeat in range(REPEATS):
        if not cells:
            break
        print(f"repeating: {', '.join(row for *_, row in cells)}", flush=True)
        for key, pairs in measured(bench(program, peer, cells)).items():
            ratios[key] = ratios.get(key, []) + pairs
        cells = compare(claimed_here, ratios, cells, is_last=repeat == REPEATS - 1)
    if not cells:
        return 0
    print("Ringway is slower than docs/results/servers.md claims", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        if sys.argv[1:] not in ([], ["--measure"]):
            sys.exit(__doc__)
        sys.exit(main(measure=bool(sys.argv[1:])))
    except (Failed, install.Failed, install.Unavailable, document.NoMarkers) as failure:
        sys.exit(f"guard: {failure}")
