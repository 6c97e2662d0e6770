"""A server of the static files in `peers`."""

import contextlib
import functools
import http.server
import pathlib
import threading

PEERS = pathlib.Path(__file__).resolve().parent / "peers"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve():
    """Serves until the block is left. Yields its port, which is one of the system."""
    handler = functools.partial(Quiet, directory=PEERS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
