"""Tests of the evaluation of a run: `python3 -m unittest discover tests/conformance`."""

import contextlib
import io
import json
import pathlib
import runpy
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import processes  # noqa: E402
import suite  # noqa: E402

RUN = pathlib.Path(__file__).with_name("run")


def result(behavior, behavior_close):
    return suite.Result("1.1.1", behavior, behavior_close, 1000, pathlib.Path("none.json"))


class Selection(unittest.TestCase):
    def test_the_default_patterns_are_every_section_but_compression(self):
        sections = {}
        for case in suite.select(suite.DEFAULT_PATTERNS):
            section = case.split(".")[0]
            sections[section] = sections.get(section, 0) + 1
        self.assertEqual(sections, {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1})

    def test_a_pattern_names_its_own_section_only(self):
        self.assertEqual(suite.select(["10.*"]), ["10.1.1"])
        self.assertNotIn("10.1.1", suite.select(["1.*"]))

    def test_a_case_named_twice_runs_once(self):
        self.assertEqual(suite.select(["7.5.1", "7.5.*"]), ["7.5.1"])

    def test_a_pattern_that_names_no_case_is_refused(self):
        for pattern in ["8.*", "1.1.9", "", "1"]:
            with self.assertRaises(ValueError):
                suite.select(["1.1.1", pattern])


class Judging(unittest.TestCase):
    def test_ok_and_informational_pass(self):
        for behavior in ["OK", "INFORMATIONAL"]:
            for behavior_close in ["OK", "INFORMATIONAL"]:
                self.assertTrue(result(behavior, behavior_close).passed)

    def test_everything_else_fails(self):
        for verdict in ["NON-STRICT", "FAILED", "UNIMPLEMENTED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "?"]:
            self.assertFalse(result(verdict, "OK").passed, verdict)
            self.assertFalse(result("OK", verdict).passed, verdict)

    def test_a_case_without_a_result_is_not_run(self):
        verdict = suite.evaluate(["1.1.1", "1.1.2"], {"1.1.1": result("OK", "OK")})
        self.assertEqual(verdict.run, 1)
        self.assertEqual(verdict.not_run, ["1.1.2"])


class Reports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write_index(self, agents):
        (self.folder / "index.json").write_text(json.dumps(agents))

    def test_a_missing_index_is_an_error(self):
        with self.assertRaises(ValueError):
            suite.read_results(self.folder)

    def test_results_of_another_agent_are_an_error(self):
        self.write_index({"somebody": {}})
        with self.assertRaises(ValueError):
            suite.read_results(self.folder)

    def test_an_index_without_results_has_no_cases(self):
        self.write_index({})
        self.assertEqual(suite.read_results(self.folder), {})

    def test_a_failure_is_explained_from_the_case_file(self):
        entry = {"behavior": "FAILED", "behaviorClose": "OK", "remoteCloseCode": None, "reportfile": "case.json"}
        self.write_index({suite.AGENT: {"4.2.1": entry}})
        details = {
            "description": "Send <b>Opcode = 11</b>.<br><br>PARTS",
            "expectation": "It &amp; fails.",
            "result": None,
        }
        (self.folder / "case.json").write_text(json.dumps(details))
        explanation = suite.read_results(self.folder)["4.2.1"].explain()
        self.assertIn("4.2.1: behavior FAILED, close OK, remote close code none", explanation)
        self.assertIn("case: Send Opcode = 11.\n", explanation)
        self.assertIn("expected: It & fails.\n", explanation)


class Totals(unittest.TestCase):
    """Runs the roles with a fake wstest, whose report the test determines."""

    def run_roles(self, index, status=0):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        program = pathlib.Path(folder.name) / "program"
        # As wstest, it writes the index and exits; as the server, it listens until it is stopped.
        program.write_text(
            f"#!{sys.executable}\n"
            "import os, socket, sys\n"
            "if sys.argv[1] == 'serve':\n"
            "    listener = socket.create_server(('127.0.0.1', int(sys.argv[3].split(':')[1])))\n"
            "    while True: listener.accept()[0].close()\n"
            "os.mkdir('reports')\n"
            f"open('reports/index.json', 'w').write({json.dumps(index)!r})\n"
            f"sys.exit({status})\n"
        )
        program.chmod(0o755)
        run = runpy.run_path(str(RUN))
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()) as errors:
            good = run["run_roles"]({"server": program}, [program], ["1.1.1", "1.1.2"])
        for line in errors.getvalue().splitlines():
            kept = pathlib.Path(line.split(": ")[1])
            self.addCleanup(run["shutil"].rmtree, kept)
        return good, output.getvalue().splitlines()

    def index(self, verdicts):
        entry = {"behaviorClose": "OK", "remoteCloseCode": 1000, "reportfile": "none.json"}
        return {suite.AGENT: {case: {**entry, "behavior": verdict} for case, verdict in verdicts.items()}}

    def test_a_run_in_which_all_pass_is_good(self):
        good, lines = self.run_roles(self.index({"1.1.1": "OK", "1.1.2": "INFORMATIONAL"}))
        self.assertTrue(good)
        self.assertEqual(lines[-1], "2 passed, 0 failed")

    def test_a_non_strict_case_fails_the_run(self):
        good, lines = self.run_roles(self.index({"1.1.1": "OK", "1.1.2": "NON-STRICT"}))
        self.assertFalse(good)
        self.assertEqual(lines[-1], "1 passed, 1 failed")

    def test_a_case_that_was_not_run_fails_the_run(self):
        good, lines = self.run_roles(self.index({"1.1.1": "OK"}))
        self.assertFalse(good)
        self.assertIn("server not run: 1.1.2", lines)
        self.assertEqual(lines[-1], "1 passed, 1 failed")

    def test_a_wstest_that_fails_fails_the_run(self):
        good, lines = self.run_roles(self.index({"1.1.1": "OK", "1.1.2": "OK"}), status=3)
        self.assertFalse(good)
        self.assertIn("server run aborted: wstest ended with exit status 3", lines)
        self.assertEqual(lines[-1], "2 passed, 1 failed")


class Processes(unittest.TestCase):
    def test_a_child_that_ignores_sigterm_is_killed(self):
        original, processes.END_SECONDS = processes.END_SECONDS, 0.1
        self.addCleanup(setattr, processes, "END_SECONDS", original)
        command = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
        with processes.running(command, stdout=processes.subprocess.PIPE) as child:
            child.stdout.readline()
        child.stdout.close()
        self.assertEqual(processes.describe_exit(child), "signal SIGKILL")

    def test_a_child_that_ends_before_it_listens_is_a_failure(self):
        with processes.running(["sh", "-c", "exit 3"]) as child:
            with self.assertRaisesRegex(processes.Failure, "exit status 3"):
                processes.wait_until_listening(child, processes.free_port(), "child")

    def test_a_missing_program_is_a_failure(self):
        with self.assertRaisesRegex(processes.Failure, "no-such-program"):
            processes.output_of(["no-such-program"])


if __name__ == "__main__":
    unittest.main()
