"""The example `console` with its page in Chromium."""

import contextlib
import re
import subprocess
import unittest

import chromium
import pages
import processes
import ringway


class Console:
    """The running example, and the operator's terminal."""

    def __init__(self, child):
        self.child = child
        self.url = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/#[0-9a-f]{32})\n", child.stdout.readline())[1]

    def evaluate(self, line):
        """The answer to a line."""
        self.child.stdin.write(f"{line}\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().removesuffix("\n")

    def until(self, notice):
        """Waits for a notice."""
        while (line := self.child.stderr.readline()) != f"* {notice}\n":
            if not line:
                raise AssertionError(f"the console ended without the notice '{notice}'")


@contextlib.contextmanager
def console():
    pipe = subprocess.PIPE
    child = subprocess.Popen([ringway.console], stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        with child.stdout, child.stderr:
            yield Console(child)
            # The end of its input ends the console.
            child.stdin.close()
            child.wait(processes.END_SECONDS)
    finally:
        processes.end(child)


class Page(unittest.TestCase):
    def test_lines_are_evaluated_in_the_page(self):
        with console() as terminal, chromium.page() as page:
            self.assertEqual(terminal.evaluate("1"), "! no page is attached")
            self.assertIsNone(page.navigate(terminal.url))
            terminal.until("a page is attached")
            for line, answer in [
                ("1 + 1", "= 2"),
                ("document.title", '= "Remote console"'),
                ("var counter = 41", "= undefined"),
                ("counter += 1", "= 42"),
                ('{"a": [1, null]}', '= {"a":[1,null]}'),
                ("await fetch('/console.js').then((reply) => reply.status)", "= 200"),
                ("new Promise((resolve) => setTimeout(() => resolve('later'), 10))", '= "later"'),
                ("document.querySelector('#state')", '= <output id="state">attached</output>'),
                ("Promise.reject(new TypeError('no'))", "! TypeError: no"),
                ("JSON.parse('{')", None),
                ("missing", "! ReferenceError: missing is not defined"),
                ("if (counter) { document.title = 'changed' }", '= "changed"'),
                ("10n ** 20n", "= 100000000000000000000"),
                ("'€'.repeat(20000).length", "= 20000"),
            ]:
                with self.subTest(line=line):
                    answered = terminal.evaluate(line)
                    if answer is None:
                        self.assertRegex(answered, "^! SyntaxError: ")
                    else:
                        self.assertEqual(answered, answer)
            self.assertEqual(page.evaluate("document.title"), "changed")
            long = terminal.evaluate("'€'.repeat(20000)")
            self.assertRegex(long, r'^= "€{15900,}… \(200\d\d characters\)$')
            self.assertEqual(terminal.evaluate("console.log('hello', {a: 1})"), "= undefined")
            terminal.until('log: hello {"a":1}')
            # Loading the page again attaches it again.
            self.assertIsNone(page.navigate("about:blank"))
            self.assertIsNone(page.navigate(terminal.url))
            terminal.until("a page is attached")
            self.assertEqual(terminal.evaluate("document.title"), '= "Remote console"')

    def test_other_pages_and_wrong_tokens_are_refused(self):
        with console() as terminal, chromium.page() as page, pages.serve() as port:
            base, token = terminal.url.split("/#")
            script = f'new WebSocket("{base.replace("http", "ws")}/console", ["console", "token.{token}"])'
            self.assertIsNone(page.navigate(f"http://localhost:{port}/page.html"))
            self.assertEqual(page.evaluate(f"eventsOf({script})")["seen"], ["error"])
            self.assertIsNone(page.navigate(f"{base}/#{'0' * 32}"))
            refused = 'new Promise((done) => setInterval(() => /1006/.test(state.textContent) && done(true), 10))'
            self.assertTrue(page.evaluate(refused))
            self.assertEqual(terminal.evaluate("1"), "! no page is attached")
