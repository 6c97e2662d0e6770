"""nginx and HAProxy between clients and `ringway serve`, and as servers for `ringway load`."""

import asyncio
import os
import ssl
import unittest

import proxies
import recorder
import ringway
from websockets.asyncio.client import connect


class Cases:
    """The tests of one proxy: its terminating and its passing configuration."""

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
