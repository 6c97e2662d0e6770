"""The page that `ringway serve` answers on `/`, in Chromium."""

import json
import unittest

import chromium
import ringway
from websockets.sync.client import connect

# Resolves when a condition holds for the page, which is checked after each change of it.
UNTIL = """
new Promise((resolve) => {
  const check = () => {
    const value = %s;
    if (value) { observer.disconnect(); resolve(value); }
  };
  const observer = new MutationObserver(check);
  observer.observe(document.body, { attributes: true, characterData: true, childList: true, subtree: true });
  check();
})
"""

# Adds a script that the policy of the page does not allow.
FORBIDDEN = """
document.head.append(Object.assign(document.createElement("script"), { textContent: "window.hasRun = true" }));
window.hasRun === true
"""


class ServedPage(unittest.TestCase):
    """Chromium at the page of a server, whose log it watches."""

    def visit(self, page, server):
        self.page = page
        page.call("Log.enable")
        page.call("Runtime.enable")
        self.assertIsNone(page.navigate(f"http://127.0.0.1:{server.port}/"))
        self.shows("state", "1 OPEN")

    def value(self, expression):
        return self.page.evaluate(expression)

    def until(self, condition):
        """Waits for a condition, and returns its value."""
        return self.page.evaluate(UNTIL % condition)

    def text(self, name):
        return self.value(f"document.getElementById({name!r}).textContent")

    def shows(self, name, text):
        """Waits until an element has this text."""
        self.until(f"document.getElementById({name!r}).textContent === {json.dumps(text)}")

    def log(self, kind, text):
        """Waits until the newest line of the log of this kind has this text."""
        self.until(f"[...document.querySelectorAll('#log .{kind}')].at(-1)?.textContent === {json.dumps(text)}")

    def click(self, name):
        self.value(f"document.getElementById({name!r}).click()")

    def fill(self, name, text):
        self.value(f"document.getElementById({name!r}).value = {json.dumps(text)}")

    def enabled(self):
        """The names of the buttons that can be used and seen."""
        usable = "(button) => !button.disabled && button.checkVisibility()"
        return self.value(f"[...document.querySelectorAll('button')].filter({usable}).map((button) => button.id)")

    def check_console(self):
        """Asserts that the policy has forbidden nothing and that no script has failed. A script that the
        policy forbids is reported, and it is the first entry."""
        self.assertIs(self.value(FORBIDDEN), False)
        entry = self.page.event("Log.entryAdded")["entry"]
        self.assertEqual((entry["source"], entry["level"]), ("security", "error"), entry)
        self.assertIn("inline script", entry["text"])
        self.assertEqual([event for event in self.page.events if event["method"] == "Runtime.exceptionThrown"], [])


class Echo(ServedPage):
    def test_a_message_its_latency_the_buffered_amount_and_the_close(self):
        with ringway.serve() as server, chromium.page() as page:
            self.visit(page, server)
            self.assertEqual(self.enabled(), ["close", "send"])
            self.assertIs(self.value("document.getElementById('topics').checkVisibility()"), False)
            self.assertEqual((self.text("latency"), self.text("sent"), self.text("buffered")), ("–", "0", "0"))
            self.fill("text", "é€😀 <b>not markup</b>")
            self.click("send")
            self.log("received", "é€😀 <b>not markup</b>")
            self.assertEqual((self.text("sent"), self.text("received")), ("1", "1"))
            for time in ["latency", "minimum"]:
                self.assertRegex(self.text(time), r"^\d+\.\d\d ms$")
            # What a page has just sent is not with the server, because scripts and the network take turns.
            self.fill("text", "x" * (256 << 10))
            buffered = "document.getElementById('buffered').textContent"
            self.assertEqual(self.value(f"document.getElementById('send').click(), {buffered}"), str(256 << 10))
            self.shows("received", "2")
            self.shows("buffered", "0")
            self.assertEqual(self.value("[...document.querySelectorAll('#log .received')].at(-1).textContent.length"),
                             256 << 10)  # fmt: skip
            # The state of a close that the server has not answered yet.
            state = "document.getElementById('state').textContent"
            self.assertEqual(self.value(f"document.getElementById('close').click(), {state}"), "2 CLOSING")
            self.shows("state", "3 CLOSED")
            # The server repeats the code.
            self.log("event", "close 1000")
            self.assertEqual(self.enabled(), ["open"])
            self.fill("path", "/other?query")
            self.click("open")
            self.log("event", f"open ws://127.0.0.1:{server.port}/other?query")
            self.fill("text", "again")
            self.click("send")
            self.log("received", "again")
            self.check_console()
            server.stop()
            self.log("event", "close 1001 the server is stopping")

    def test_a_successor_takes_over_and_the_page_connects_again(self):
        path = ringway.file("page.handover")
        with ringway.serve("--handover", path) as server, chromium.page() as page:
            self.visit(page, server)
            with ringway.serve("--handover", path) as successor:
                # The former server ends by itself.
                server.is_stopped = True
                self.assertEqual(successor.port, server.port)
                self.log("event", "close 1012 the server restarts; connect again")
                self.click("open")
                self.shows("state", "1 OPEN")
                self.fill("text", "to the successor")
                self.click("send")
                self.log("received", "to the successor")
                self.check_console()


class Topics(ServedPage):
    def board(self, topic, condition):
        """Waits until a condition holds for the messages of a topic; `it` is their element."""
        self.until(f"((it) => it !== null && ({condition}))(document.querySelector('[data-topic={topic}]'))")

    def messages(self, topic):
        lines = f"document.querySelectorAll('[data-topic={topic}] li')"
        return self.value(f"[...{lines}].map((line) => line.textContent)")

    def command(self, button, topic):
        self.fill("topic", topic)
        self.click(button)

    def test_topics_are_subscribed_to_published_to_and_left(self):
        with ringway.serve("--app", "topics") as server, chromium.page() as page:
            self.visit(page, server)
            self.assertEqual(self.enabled(), ["close", "send", "subscribe", "unsubscribe", "publish"])
            self.command("subscribe", "news")
            self.board("news", "it.dataset.subscribed === 'true'")
            with connect(server.plain_url) as other:
                for topic in ["news", "sport"]:
                    other.send(f"sub {topic}")
                    self.assertEqual(other.recv(), f"ok sub {topic}")
                # To itself and to the other one, as text and not as markup.
                self.fill("payload", "<img src=x onerror=alert(1)>")
                self.click("publish")
                self.assertEqual(other.recv(), "msg news\n<img src=x onerror=alert(1)>")
                self.board("news", "it.querySelectorAll('li').length === 1")
                self.assertRegex(self.text("latency"), r"^\d+\.\d\d ms$")
                other.send("pub news\ntwo\nlines")
                other.send(b"pub news\n\x00\xff\n")
                self.board("news", "it.querySelectorAll('li').length === 3")
                self.assertEqual(self.messages("news"),
                                 ["<img src=x onerror=alert(1)>", "two\nlines", "binary, 3 bytes"])  # fmt: skip
                # A publisher need not subscribe, and receives nothing then.
                self.command("publish", "sport")
                for message in ["msg news\ntwo\nlines", b"msg news\n\x00\xff\n",
                                "msg sport\n<img src=x onerror=alert(1)>"]:  # fmt: skip
                    self.assertEqual(other.recv(), message)
                self.command("unsubscribe", "news")
                self.board("news", "it.dataset.subscribed === 'false'")
                other.send("pub news\nafter the end")
                self.assertEqual(other.recv(), "msg news\nafter the end")
                self.command("subscribe", "sport")
                self.board("sport", "it.dataset.subscribed === 'true'")
                other.send("pub sport\nscore")
                self.board("sport", "it.textContent.endsWith('score')")
                self.assertEqual((self.messages("sport"), len(self.messages("news"))), (["score"], 3))
                self.command("subscribe", "two words")
                self.log("received", "err invalid topic: give a name of 1 to 255 bytes without spaces and "
                                     "control characters")  # fmt: skip
                # The end of the connection ends its subscriptions.
                self.click("close")
                self.board("sport", "it.dataset.subscribed === 'false'")
                self.assertEqual(self.enabled(), ["open"])
            self.check_console()
