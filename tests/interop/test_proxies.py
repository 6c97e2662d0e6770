"""nginx and HAProxy between clients and Ringway: the configurations of deploy/proxy, and others with
TLS; and as servers for `ringway load`."""

import asyncio
import contextlib
import os
import ssl
import sys
import unittest
import urllib.request

import proxies
import recorder
import ringway
import test_clients
from websockets.asyncio.client import connect


class Deployed(test_clients.Cases, test_clients.Deflate):
    """The cases of all clients through a proxy, with ws as client, and how long it keeps a silent
    connection."""

    command = ["node", test_clients.PEERS / "ws_client.js"]
    # The proxy of deploy/proxy, as a context that yields its port.
    proxy = None

    @contextlib.contextmanager
    def front(self, server):
        with type(self).proxy(server) as port:
            yield f"ws://127.0.0.1:{port}/"

    def run_idle_case(self, name, *options):
        """Runs a case of a client that sends nothing, with a proxy that keeps a silent connection for
        two seconds."""
        with ringway.serve(*options) as server, type(self).proxy(server, timeout="2s") as port:
            client = test_clients.PEERS / "websockets_client.py"
            self.run_client([sys.executable, client, f"ws://127.0.0.1:{port}/", name])

    def test_an_idle_connection_is_kept_by_pings_of_the_server(self):
        # A ping in each second.
        self.run_idle_case("idle", "--idle-timeout", "2s")

    def test_an_idle_connection_without_pings_is_dropped_by_the_proxy(self):
        self.run_idle_case("dropped", "--idle-timeout", "0")

    def test_load_exchanges_messages(self):
        with ringway.serve() as server, self.front(server) as url:
            ringway.check_load(self, url, connections=50, messages=1000)
            ringway.check_load(self, url, "-s", "1M", "--binary")

    def test_a_plain_request_is_answered(self):
        with ringway.serve() as server, self.front(server) as url:
            with urllib.request.urlopen(url.replace("ws:", "http:")) as response:
                self.assertEqual(response.status, 200)


class NginxDeployed(Deployed, unittest.TestCase):
    proxy = proxies.nginx_deployed


class HAProxyDeployed(Deployed, unittest.TestCase):
    proxy = proxies.haproxy_deployed



class Cases:
    """The tests of one proxy with TLS: its terminating and its passing configuration."""

    def terminating(self, server):
        """The proxy in front of a plain TCP listener."""
        raise NotImplementedError

    def terminating_to_unix_socket(self, path):
        raise NotImplementedError

    def encrypting_again(self, server):
        """The proxy terminates TLS, and connects to Ringway with TLS."""
        raise NotImplementedError

    def passing(self, server):
        """The proxy passes bytes through."""
        raise NotImplementedError

    def check(self, port):
        """A client of another implementation, then `ringway load` of the same path."""
        url = f"wss://localhost:{port}/"
        asyncio.run(self.exchange(url))
        ca = ["--cacert", ringway.file("ca.pem")]
        ringway.check_load(self, url, *ca, connections=10, messages=1000)
        ringway.check_load(self, url, *ca, "-s", "100K", "--binary")

    async def exchange(self, url):
        context = ssl.create_default_context(cafile=ringway.file("ca.pem"))
        async with connect(url, ssl=context, max_size=None, compression=None) as client:
            for message in ["text", os.urandom(70_000), os.urandom(1 << 20)]:
                await client.send(message)
                self.assertEqual(await client.recv(), message)
            await client.send(["frag", "ment", "s"])
            self.assertEqual(await client.recv(), "fragments")
            await client.close(4321, "reason")
            self.assertEqual(client.protocol.close_rcvd.code, 4321)

    def test_terminated_in_front_of_a_plain_listener(self):
        with ringway.serve() as server, self.terminating(server) as port:
            self.check(port)

    def test_terminated_in_front_of_a_unix_socket(self):
        path = ringway.file(f"{type(self).__name__}.sock")
        with ringway.serve(listen=f"unix:{path}"), self.terminating_to_unix_socket(path) as port:
            self.check(port)

    def test_encrypted_again(self):
        with ringway.serve_tls() as server, self.encrypting_again(server) as port:
            self.check(port)

    def test_encrypted_again_over_tls_1_3_only(self):
        with ringway.serve_tls("--tls-min", "1.3") as server, self.encrypting_again(server) as port:
            self.check(port)

    def test_passed_through(self):
        with ringway.serve_tls() as server, self.passing(server) as port:
            self.check(port)

    def test_load_resumes_sessions_of_the_proxy(self):
        with ringway.serve() as server, self.terminating(server) as port, recorder.record(port) as relay:
            options = ["--cacert", ringway.file("ca.pem"), "--resume", "-r", "100"]
            url = f"wss://localhost:{relay.port}/"
            ringway.check_load(self, url, *options, connections=20, messages=100)
            recorder.check_resumed(self, relay, "ringway load")


class Nginx(Cases, unittest.TestCase):
    def terminating(self, server):
        return proxies.nginx_http(f"http://127.0.0.1:{server.port}")

    def terminating_to_unix_socket(self, path):
        return proxies.nginx_http(f"http://unix:{path}:")

    def encrypting_again(self, server):
        return proxies.nginx_http(f"https://127.0.0.1:{server.port}", tls=True)

    def passing(self, server):
        return proxies.nginx_stream(server)


class HAProxy(Cases, unittest.TestCase):
    def terminating(self, server):
        return proxies.haproxy_http(f"127.0.0.1:{server.port}")

    def terminating_to_unix_socket(self, path):
        return proxies.haproxy_http(f"unix@{path}")

    def encrypting_again(self, server):
        return proxies.haproxy_http(f"127.0.0.1:{server.port}", tls=True)

    def passing(self, server):
        return proxies.haproxy_tcp(server)
