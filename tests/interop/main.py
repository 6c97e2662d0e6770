"""Runs the tests of this folder. `run` starts it, with the peers on PATH."""

import argparse
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "conformance")]

import processes  # noqa: E402
import ringway  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run", description="Tests Ringway with other implementations.")
    parser.add_argument("tests", nargs="*", metavar="MODULE[.CLASS[.TEST]]",
                        help="the tests to run, for example openssl (default: all)")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep the logs of a good run too")
    return parser.parse_args()


def load(names):
    """The tests with these names, or all."""
    loader = unittest.defaultTestLoader
    if names:
        return loader.loadTestsFromNames([f"test_{name.removeprefix('test_')}" for name in names])
    return loader.discover(str(HERE), top_level_dir=str(HERE))


def main():
    arguments = parse_arguments()
    processes.raise_on_signals()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ringway-interop-"))
    good = False
    try:
        ringway.prepare(folder)
        result = unittest.TextTestRunner(verbosity=2).run(load(arguments.tests))
        # A skipped test counts as a failure: a peer that is missing must not go unnoticed.
        good = result.wasSuccessful() and result.testsRun > 0 and not result.skipped
        return 0 if good else 1
    except processes.Failure as failure:
        print(f"run: {failure}", file=sys.stderr)
        return 1
    except processes.Interrupted as interrupted:
        print(f"run: ended by {interrupted}", file=sys.stderr)
        return 128 + interrupted.number
    finally:
        if good and not arguments.keep:
            shutil.rmtree(folder)
        else:
            print(f"logs: {folder}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
