"""Chromium as client of `ringway serve`, and of `interop-server` for what the server starts."""

import contextlib
import unittest

import chromium
import pages
import recorder
import ringway

# Opens a connection, exchanges messages and closes it. Reports what it has received.
SCRIPT = """
(async () => {
  const socket = new WebSocket("wss://localhost:%PORT%/");
  socket.binaryType = "arraybuffer";
  const event = (name) => new Promise((resolve, reject) => {
    socket.addEventListener(name, resolve, { once: true });
    socket.addEventListener("error", () => reject(new Error("the connection failed")), { once: true });
  });
  await event("open");
  const sizes = [];
  for (const size of [0, 1, 125, 126, 16384, 65536, 1 << 20]) {
    const sent = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(sent.subarray(at, at + 65536));
    const reply = event("message");
    socket.send(sent);
    const received = new Uint8Array((await reply).data);
    if (received.length === size && received.every((byte, at) => byte === sent[at])) sizes.push(size);
  }
  const reply = event("message");
  socket.send("é€😀");
  const text = (await reply).data;
  const closed = event("close");
  socket.close(4321, "reason");
  const { code, wasClean } = await closed;
  return { sizes, text, code, wasClean };
})()
"""

EXPECTED = {"sizes": [0, 1, 125, 126, 16384, 65536, 1 << 20], "text": "é€😀", "code": 4321, "wasClean": True}


# The end of the connections of a server that stops.
END = {"code": 1001, "reason": "the server is stopping", "wasClean": True}
# The end of the connections of a server that hands over to its successor.
HANDED_OVER = {"code": 1012, "reason": "the server restarts; connect again", "wasClean": True}
SIZES = [0, 1, 125, 126, 16384, 65535, 65536, 1 << 20]


class Plain(unittest.TestCase):
    """A page of http://localhost, with plain WebSocket connections. The page has the functions."""

    @classmethod
    def setUpClass(cls):
        contexts = contextlib.ExitStack()
        cls.addClassCleanup(contexts.close)
        port = contexts.enter_context(pages.serve())
        cls.origin, cls.other_origin = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
        cls.page = contexts.enter_context(chromium.page())

    def setUp(self):
        self.visit(self.origin)

    def visit(self, origin):
        self.assertIsNone(self.page.navigate(f"{origin}/page.html"))

    def call(self, function, server, *arguments):
        values = ", ".join(map(repr, [server.plain_url, *arguments]))
        return self.page.evaluate(f"{function}({values})")

    def test_text_blobs_buffers_and_views_up_to_1_mib(self):
        with ringway.serve() as server:
            kinds = ["text", "blob", "arrayBuffer", "view"]
            self.assertEqual(self.call("echoes", server), {kind: SIZES for kind in kinds})

    def test_ready_states_and_a_close_by_the_page(self):
        with ringway.obedient() as server:
            lived = self.call("life", server)
            self.assertEqual(lived.pop("states"), {"created": 0, "open": 1, "closing": 2, "closed": 3})
            # The server repeats the code.
            self.assertEqual((lived["code"], lived["wasClean"]), (4321, True))
            self.assertEqual(server.ended(), {"code": 4321, "reason": "réason", "clean": True})

    def test_a_close_by_the_server(self):
        with ringway.obedient() as server:
            for code, reason in [(4444, "réason"), (1000, "done"), (1011, "internal error"), (1012, "restart"),
                                 (1013, "try again later")]:  # fmt: skip
                with self.subTest(code=code):
                    closed = self.call("closedByServer", server, code, reason)
                    self.assertEqual(closed, {"code": code, "reason": reason, "wasClean": True, "state": 3})
                    self.assertEqual(server.ended(), {"code": code, "reason": reason, "clean": True})

    def test_a_stopped_server_is_a_close_with_1001(self):
        with ringway.serve() as server:
            self.call("keep", server)
            server.stop()
            self.assertEqual(self.page.evaluate("ended"), END)

    def test_a_hand_over_is_a_close_with_1012(self):
        path = ringway.file("chromium.handover")
        with ringway.serve("--handover", path) as server:
            self.call("keep", server)
            with ringway.serve("--handover", path) as successor:
                # The former server ends by itself.
                server.is_stopped = True
                self.assertEqual(self.page.evaluate("ended"), HANDED_OVER)
                self.assertEqual(successor.port, server.port)
                self.assertEqual(self.call("chosen", successor), "")

    def test_a_ping_is_answered(self):
        with ringway.obedient() as server:
            self.assertEqual(self.call("answerPing", server), "pong payload")

    def test_buffered_amount(self):
        with ringway.serve() as server:
            self.assertEqual(self.call("buffered", server), {"sent": 16 << 20, "received": 0, "closed": 5})

    def test_chat_is_chosen_out_of_chat_and_superchat(self):
        with ringway.serve("--subprotocol", "chat") as server:
            self.assertEqual(self.call("chosen", server, "chat", "superchat"), "chat")
            self.assertEqual(self.call("chosen", server, "superchat", "chat"), "chat")
            self.assertEqual(self.call("chosen", server), "")
            # A page that has asked for others only gets no connection.
            with self.assertRaisesRegex(AssertionError, "the connection failed"):
                self.call("chosen", server, "superchat")

    def test_compressed_messages(self):
        parameters = "; server_no_context_takeover; client_no_context_takeover"
        for mode, extensions in [("takeover", "permessage-deflate"), ("shared", f"permessage-deflate{parameters}")]:
            with self.subTest(mode=mode), ringway.serve("--deflate", mode) as server:
                compressed = self.call("deflate", server)
                self.assertEqual(compressed, {"extensions": extensions, "results": [True] * 6})

    def test_only_pages_of_the_origin_are_accepted(self):
        self.page.call("Network.enable")
        with ringway.serve("--origin", self.origin) as server:
            self.assertEqual(self.call("chosen", server), "")
            self.visit(self.other_origin)
            refused = self.call("events", server)
            self.assertEqual(refused, {"seen": ["error"], "code": 1006, "wasClean": False, "state": 3})
            self.assertIn("403", self.page.event("Network.webSocketFrameError")["errorMessage"])


class Tls(unittest.TestCase):
    def test_echoes_and_a_resumed_session(self):
        with ringway.serve_tls() as server, recorder.record(server.port) as relay:
            with chromium.page("server") as page:
                # A page of the same origin, so that no rule of cross-origin requests applies.
                self.assertIsNone(page.navigate(f"https://localhost:{relay.port}/"))
                script = SCRIPT.replace("%PORT%", str(relay.port))
                self.assertEqual(page.evaluate(script), EXPECTED)
                before = len(relay.handshakes())
                self.assertEqual(page.evaluate(script), EXPECTED)
            recorder.check_resumed(self, relay, "Chromium")
            # The second WebSocket connection is the last one.
            later = relay.handshakes()[before:]
            self.assertEqual(later, [True], "the second WebSocket connection did not resume a session")

    def test_an_unknown_issuer_is_refused(self):
        with ringway.serve_tls() as server, chromium.page() as page:
            error = page.navigate(f"https://localhost:{server.port}/")
            self.assertEqual(error, "net::ERR_CERT_AUTHORITY_INVALID")
