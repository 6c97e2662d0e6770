"""The main program of the clients in Python: `CLIENT URL CASE` runs one case, and exits with 0 if it
passes."""

import sys

SIZES = [0, 1, 125, 126, 16384, 65535, 65536, 1 << 20]
FRAGMENT_SIZES = [1, 0, 16383, 16384, 16385, 100_000]


def check(what, actual, expected):
    """Fails unless the values are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r:.200}, got {actual!r:.200}")


def run(cases):
    """Runs the case of the command line; `cases` has its function by name."""
    url, name = sys.argv[1:]
    cases[name](url)
    print(f"{name}: passed")
