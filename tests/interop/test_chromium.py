"""Chromium as client of `ringway serve`."""

import unittest

import chromium
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


class Chromium(unittest.TestCase):
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
