"""The Autobahn suite: its cases, the specs of `wstest`, and the evaluation of its reports."""

import fnmatch
import html
import json
import pathlib
import re
from dataclasses import dataclass

# The name of our agent in the suite's results, in both roles.
AGENT = "ringway"

# The number of cases of each group; they are numbered from 1 without gaps, in releases 0.8.2 and
# 25.10.1 alike. With these counts a run that silently skips cases fails.
GROUPS = {
    "1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20,
    "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3,
    "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5,
    "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
    "9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6,
    "10.1": 1,
    "12.1": 18, "12.2": 18, "12.3": 18, "12.4": 18, "12.5": 18,
    "13.1": 18, "13.2": 18, "13.3": 18, "13.4": 18, "13.5": 18, "13.6": 18, "13.7": 18,
}  # fmt: skip

ALL_CASES = [f"{group}.{number}" for group, count in GROUPS.items() for number in range(1, count + 1)]

# Framing, control frames, UTF-8, closing, large messages.
DEFAULT_PATTERNS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]

# permessage-deflate: section 12 with five kinds of content, 13 with seven sets of parameters. Each
# group has the same 18 cases of 1000 messages, by size (the first 10) and by fragmentation (the
# last 8).
COMPRESSION_PATTERNS = {
    "off": [],
    "quick": ["12.*.3", "13.*.5"],
    "full": ["12.*", "13.*"],
}

# NON-STRICT is not among them: the suite reports it, for example, for invalid text that is refused
# only at its end.
PASSING = {"OK", "INFORMATIONAL"}


def select(patterns):
    """The ids of the cases that the patterns name, in the suite's order. `ValueError` if one names
    none."""
    for pattern in patterns:
        if not fnmatch.filter(ALL_CASES, pattern):
            raise ValueError(f"no case is named '{pattern}'")
    return [case for case in ALL_CASES if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]


def count_compressing(cases):
    """The number of cases of compression."""
    return sum(case.startswith(("12.", "13.")) for case in cases)


def client_spec(url, cases, reports):
    """The spec of `wstest -m fuzzingclient` to test the server at `url`."""
    return {"outdir": str(reports), "servers": [{"agent": AGENT, "url": url}], "cases": cases}


def server_spec(url, cases, reports):
    """The spec of `wstest -m fuzzingserver` to serve the cases at `url`."""
    return {"outdir": str(reports), "url": url, "cases": cases}


@dataclass(frozen=True)
class Result:
    """The suite's result of one case."""

    case: str
    behavior: str
    behavior_close: str
    remote_close_code: "int | None"
    report: pathlib.Path

    @property
    def passed(self):
        return self.behavior in PASSING and self.behavior_close in PASSING

    def explain(self):
        """Lines of text: the verdicts, the case, the expected and the actual behaviour."""
        code = "none" if self.remote_close_code is None else self.remote_close_code
        lines = [f"{self.case}: behavior {self.behavior}, close {self.behavior_close}, remote close code {code}"]
        try:
            details = json.loads(self.report.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return "\n".join([*lines, f"    no details: {error}"])
        for title, key in [
            ("case", "description"),
            ("expected", "expectation"),
            ("result", "result"),
            ("closing", "resultClose"),
        ]:
            lines.append(f"    {title}: {plain_text(details.get(key) or '-')}")
        return "\n".join(lines)


def plain_text(markup):
    """The first paragraph of the suite's HTML, without tags, on one line."""
    paragraph = re.split(r"<br>\s*<br>", markup)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", paragraph)).split())


def read_results(reports):
    """Every case in the suite's index, by id. Raises `ValueError` if there is no index or it has
    another agent."""
    index = reports / "index.json"
    try:
        agents = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError("wstest wrote no report") from None
    if agents and AGENT not in agents:
        raise ValueError(f"the report has the agents {', '.join(sorted(agents))} instead of '{AGENT}'")
    return {
        case: Result(
            case,
            entry["behavior"],
            entry["behaviorClose"],
            entry["remoteCloseCode"],
            reports / entry["reportfile"],
        )
        for case, entry in agents.get(AGENT, {}).items()
    }


@dataclass(frozen=True)
class Verdict:
    """The outcome of one role: each requested case has passed, failed or not run."""

    passed: "list[Result]"
    failed: "list[Result]"
    not_run: "list[str]"

    @property
    def run(self):
        return len(self.passed) + len(self.failed)


def evaluate(cases, results):
    """Groups the requested cases by result."""
    found = [results[case] for case in cases if case in results]
    return Verdict(
        passed=[result for result in found if result.passed],
        failed=[result for result in found if not result.passed],
        not_run=[case for case in cases if case not in results],
    )
