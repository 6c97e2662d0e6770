"""Writes results into documents between two markers: all tables, or a selection of the ratios."""

import re

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"


# The cells that the README shows.
CHOICE = [
    "1 × 20 B × 1",
    "10 × 20 B × 1",
    "100 × 20 B × 1",
    "1000 × 20 B × 1",
    "100 × 512 B × 1",
    "100 × 16 KiB × 1",
    "1000 × 16 KiB × 1",
    "100 × 64 KiB × 1",
    "100 × 20 B × 16",
    "1000 × 512 B × 16",
    "100 × 16 KiB × 16",
]


class NoMarkers(Exception):
    pass


def require_markers(path):
    """Returns the text before, between and after the markers."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise NoMarkers(f"{path} must have the line {BEGIN} once and, after it, the line {END} once")
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between, after


def replace_block(path, block):
    before, _, after = require_markers(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{block.strip()}\n{END}{after}")


def choice(block):
    """The ratios of a few cells in short form: their medians, those of CPU time with a `c`."""
    found = re.search(r"\*\*Ratio of ringway to each\*\*[^\n]*\n(?:[^\n]+\n)*\n((?:\|[^\n]*\n)+)", block)
    if not found:
        raise NoMarkers("the results have no table of ratios")
    head, rule, *rows = found[1].splitlines()
    kept = [row for row in rows if row.strip("| ").split(" | ")[0] in CHOICE]
    short = [re.sub(r"([\d.]+) \([^)]*\) (rate|cpu)", lambda m: m[1] + ("c" if m[2] == "cpu" else ""), row) for row in kept]
    return "\n".join([head, rule, *short])
