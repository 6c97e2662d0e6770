"""A headless Chromium, driven with the DevTools protocol."""

import base64
import contextlib
import hashlib
import json
import tempfile

import processes
import ringway
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.sync.client import connect

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--remote-debugging-port=0"]  # fmt: skip


def public_key_hash(name):
    """The SHA-256 hash of the public key of a certificate in the folder of the run, in base64."""
    certificate = x509.load_pem_x509_certificate((ringway.folder / f"{name}.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


class Page:
    """A tab."""

    def __init__(self, devtools):
        self.devtools = devtools
        self.next_id = 0
        self.session = None
        # The events that were received while something else was awaited.
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method, **params):
        """Calls a method and returns its result."""
        self.next_id += 1
        request = {"id": self.next_id, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        self.devtools.send(json.dumps(request))
        answer = self.until(lambda message: message.get("id") == self.next_id)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def until(self, matches):
        """The next message that matches."""
        while not matches(message := json.loads(self.devtools.recv())):
            if "method" in message:
                self.events.append(message)
        return message

    def event(self, method):
        """The parameters of the first event of this name; waits for it."""
        named = lambda message: message.get("method") == method  # noqa: E731
        found = next(filter(named, self.events), None)
        if found is None:
            found = self.until(named)
        else:
            self.events.remove(found)
        return found["params"]

    def navigate(self, url):
        """Loads a page. Returns the error of the network, or None."""
        result = self.call("Page.navigate", url=url)
        if "errorText" not in result:
            self.event("Page.loadEventFired")
        return result.get("errorText")

    def evaluate(self, expression):
        """The value of a JavaScript expression, or that of the promise that it returns."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"the page threw: {result['exceptionDetails']}")
        return result["result"].get("value")


@contextlib.contextmanager
def page(*trusted):
    """A page of a Chromium with an empty profile that accepts the certificates with these names, by
    their public keys."""
    with tempfile.TemporaryDirectory(prefix="profile-", dir=ringway.folder, ignore_cleanup_errors=True) as profile:
        keys = ",".join(map(public_key_hash, trusted))
        options = [f"--user-data-dir={profile}", *([f"--ignore-certificate-errors-spki-list={keys}"] if keys else [])]
        log = ringway.log("chromium")
        with open(log, "wb") as output:
            command = ["chromium", *FLAGS, *options, "about:blank"]
            pipe = processes.subprocess.PIPE
            with processes.running(command, stdout=output, stderr=pipe, text=True) as child, child.stderr:
                url = devtools_url(child.stderr, log)
                with connect(url, max_size=None, ping_interval=None, compression=None) as devtools:
                    yield Page(devtools)


def devtools_url(stderr, log):
    """The address of the DevTools protocol, which Chromium prints."""
    printed = []
    for line in stderr:
        printed.append(line)
        if line.startswith("DevTools listening on "):
            return line.split()[-1]
    log.write_text("".join(printed), encoding="utf-8")
    raise processes.Failure(f"chromium ended before it listened; log: {log}")
