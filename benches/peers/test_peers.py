"""Tests of `check`, with servers that are wrong in one way each, of `document`, and of `guard`."""

import base64
import hashlib
import os
import socket
import tempfile
import threading
import unittest

import check
import document
import guard


class Server:
    """A small echo server with one thread per connection and an optional defect."""

    def __init__(self, wrong=None):
        self.wrong = wrong
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            try:
                self.shake_hands(connection, stream)
                while self.answer(connection, stream):
                    pass
            except OSError:
                pass

    def shake_hands(self, connection, stream):
        headers = {}
        while (line := stream.readline().strip()) != b"" or not headers:
            name, _, value = line.partition(b": ")
            headers[name] = value
        key = headers[b"Sec-WebSocket-Key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        if self.wrong == "accept":
            key += b"!"
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        answer += b"Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1(key).digest()) + b"\r\n"
        if self.wrong == "compresses":
            answer += b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        connection.sendall(answer + b"\r\n")

    def answer(self, connection, stream):
        """Reads a frame and answers it; fragments are returned as they are. Returns False at the
        end."""
        head = stream.read(2)
        if len(head) < 2:
            return False
        first, second = head
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        key, masked = stream.read(4), stream.read(length)
        repeated = (key * (length // 4 + 1))[:length]
        payload = (int.from_bytes(masked, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
        opcode = first & 0x0F
        if opcode == check.PONG:
            return True
        if opcode == check.PING:
            if self.wrong == "pong":
                payload = b""
            first = 0x80 | check.PONG
        if opcode == check.CLOSE and self.wrong == "close":
            return False
        if opcode == check.BINARY and self.wrong == "kind":
            first = first & 0xF0 | check.TEXT
        if length == 65_536 and self.wrong == "large":
            payload = payload[:-1] + b"?"
        connection.sendall(frame(first, payload))
        if opcode == check.CLOSE and self.wrong == "stays open":
            connection.sendall(b"more")
        return opcode != check.CLOSE


def frame(first, payload):
    length = len(payload)
    if length < 126:
        return bytes([first, length]) + payload
    if length < 1 << 16:
        return bytes([first, 126]) + length.to_bytes(2, "big") + payload
    return bytes([first, 127]) + length.to_bytes(8, "big") + payload


class TheCheck(unittest.TestCase):
    def test_a_correct_server_passes(self):
        with Server() as server:
            check.check_server(server.port)

    def fails(self, wrong, with_words):
        with Server(wrong) as server, self.assertRaisesRegex(check.Failure, with_words):
            check.check_server(server.port)

    def test_a_wrong_accept_key_is_found(self):
        self.fails("accept", "Sec-WebSocket-Accept")

    def test_compression_is_found(self):
        self.fails("compresses", "compresses")

    def test_a_changed_kind_is_found(self):
        self.fails("kind", "text frame came back for a binary")

    def test_changed_content_of_a_large_message_is_found(self):
        self.fails("large", "65536 bytes: the content")

    def test_an_empty_pong_is_found(self):
        self.fails("pong", "ping")

    def test_a_close_that_is_not_answered_is_found(self):
        self.fails("close", "closed instead of the answer to a close")

    def test_bytes_behind_the_close_are_found(self):
        self.fails("stays open", "after the close")

    def test_a_command_that_ends_at_once_is_reported_with_its_last_line(self):
        with self.assertRaisesRegex(check.Failure, "before it listened: no such thing"):
            check.check_command("sh -c 'echo no such thing >&2' {port}", check.check_server)

    def test_a_command_that_does_not_exist_is_reported(self):
        with self.assertRaisesRegex(check.Failure, "/nowhere/echo: No such file"):
            check.check_command("/nowhere/echo {port}", check.check_server)


class TheDocument(unittest.TestCase):
    def setUp(self):
        handle, self.path = tempfile.mkstemp()
        os.close(handle)
        self.addCleanup(os.remove, self.path)

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def test_only_what_is_between_the_markers_is_replaced(self):
        self.write(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
        document.replace_block(self.path, "\n| new |\n")
        self.assertEqual(self.read(), f"before\n{document.BEGIN}\n| new |\n{document.END}\nafter\n")

    def test_a_document_without_its_markers_in_order_is_left_alone(self):
        begin, end = document.BEGIN, document.END
        for text in ("no markers", begin, f"{end}\n{begin}", begin + begin + end):
            self.write(text)
            with self.assertRaisesRegex(document.NoMarkers, "peers:begin"):
                document.replace_block(self.path, "new")
            self.assertEqual(self.read(), text)


class Readme(unittest.TestCase):
    def test_a_choice_has_the_medians_alone_and_says_which_are_of_cpu_time(self):
        block = (
            "**Ratio of ringway to each**, …\n…\n\n| cell | a | b |\n|---|---:|---:|\n"
            "| 100 × 20 B × 1 | 1.25 (1.00–1.30) rate | 0.97 (0.90–1.02) cpu |\n"
            "| 3 × 20 B × 1 | 9.99 (9.00–9.99) rate | - |\n\nmore\n"
        )
        self.assertEqual(
            document.choice(block), "| cell | a | b |\n|---|---:|---:|\n| 100 × 20 B × 1 | 1.25 | 0.97c |"
        )

    def test_the_readme_shows_what_the_documentation_has(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        _, results, _ = document.require_markers(os.path.join(root, "docs", "results", "servers.md"))
        _, shown, _ = document.require_markers(os.path.join(root, "README.md"))
        self.assertEqual(shown.strip(), document.choice(results))


class Guard(unittest.TestCase):
    HEAD = "| cell | raw epoll | ringway | tokio-websockets |\n|---|---:|---:|---:|\n"
    TABLE = (
        "**Messages per second** (floor)\n\n"
        + HEAD
        + "| 1 × 20 B × 1 | 20.0 k (19.0 k–21.0 k) | 50.0 k (49.0 k–51.0 k) | 18.0 k (17.0 k–19.0 k) |\n\n"
        + "**Server CPU per message**, µs\n\n"
        + HEAD
        + "| 100 × 20 B × 1 | 5.00 (4.90–5.10) | 4.00 (3.90–4.10) | 6.00 (5.90–6.10) |\n"
        + "| 100 × 64 KiB × 1 | 17.0 (16.9–17.1) | 19.0 (18.9–19.1) | 31.0 (30.9–31.1) |\n\n"
    )
    CACHE = 1 << 20
    CELL = (100, 20, 1, "100 × 20 B × 1")
    LARGE = (100, 64 << 10, 1, "100 × 64 KiB × 1")
    SINGLE = (1, 20, 1, "1 × 20 B × 1")

    def below(self, cell, ours, epoll, peer):
        key = "messages_per_second" if cell is self.SINGLE else "server_cpu_us_per_message"

        def entry(contestant, figures):
            rounds = [figure and {key: figure} for figure in figures]
            shape = {"connections": cell[0], "size": cell[1], "in_flight": cell[2]}
            return shape | {"contestant": contestant, "rounds": rounds}

        report = {"cells": [entry("ringway", ours), entry("raw epoll", epoll), entry("tokio-websockets", peer)]}
        return guard.compare(guard.claims(self.TABLE, self.CACHE), guard.measured(report), [cell])

    def test_a_cell_passes_down_to_the_bound_and_no_further(self):
        self.assertEqual(self.below(self.CELL, [4.0] * 9, [5.0] * 9, [6.0] * 9), [])
        self.assertEqual(self.below(self.CELL, [4.6] * 9, [5.0] * 9, [6.0] * 9), [])
        self.assertEqual(self.below(self.CELL, [4.8] * 9, [5.0] * 9, [6.0] * 9), [self.CELL])

    def test_one_connection_is_compared_by_its_rate(self):
        self.assertEqual(self.below(self.SINGLE, [50e3] * 9, [20e3] * 9, [18e3] * 9), [])
        self.assertEqual(self.below(self.SINGLE, [20e3] * 9, [20e3] * 9, [18e3] * 9), [self.SINGLE])

    def test_large_messages_need_a_smaller_lead_over_the_peer_only(self):
        self.assertEqual(self.below(self.LARGE, [19.0] * 9, [17.0] * 9, [20.5] * 9), [])
        self.assertEqual(self.below(self.LARGE, [19.0] * 9, [17.0] * 9, [19.5] * 9), [self.LARGE])
        self.assertEqual(self.below(self.LARGE, [19.0] * 9, [14.0] * 9, [31.0] * 9), [self.LARGE])

    def test_rounds_are_paired_and_few_pairs_are_no_figure(self):
        ours, epoll, peer = [4.0, 8.0] * 4, [5.0, 10.0] * 4, [6.0, 12.0] * 4
        self.assertEqual(self.below(self.CELL, ours, epoll, peer), [])
        self.assertEqual(self.below(self.CELL, [None] * 3 + ours[3:], epoll, peer), [self.CELL])

    def test_a_median_below_the_bound_fails_only_if_it_is_certain(self):
        for reached, is_certain in ((0, True), (1, True), (2, False), (5, False), (9, False)):
            pairs = [1.1] * reached + [0.9] * (9 - reached)
            self.assertEqual(guard.is_certain(pairs, 1.0), is_certain, reached)
        # 15 % slower than claimed, with the noise of a shared machine.
        slower = [0.85 * (1 + noise / 100) for noise in range(-13, 14)]
        self.assertTrue(guard.is_certain(slower, 0.95))

    def test_a_machine_is_compared_with_one_that_has_the_same_cache(self):
        ratios = dict.fromkeys([(cell[:3], peer) for cell in guard.CELLS for peer in (guard.FLOOR, guard.PEER)], [1.06])
        document = self.TABLE + guard.rows(ratios, 512 << 10) + "\n"
        others = guard.claims(document, 1 << 20)
        self.assertEqual(others, guard.claims(self.TABLE, 512 << 10), "without such a table, the others")
        self.assertEqual(others[self.CELL[3], guard.PEER], guard.Claim(1.5))
        self.assertEqual(set(guard.claims(document, 512 << 10).values()), {guard.Claim(1.06)})
        caches = [{"level": 1, "bytes": 32 << 10}, {"level": 2, "bytes": 512 << 10}, {"level": 3, "bytes": 32 << 20}]
        self.assertEqual(guard.second_level_cache({"machine": {"caches": caches}}), 512 << 10)
        self.assertEqual(guard.second_level_cache({"machine": {"caches": []}}), 0)

    def test_the_smallest_of_several_documented_runs_is_no_loss_of_speed(self):
        self.assertEqual(guard.claim_of("1.61 (1.07–1.70)"), guard.Claim(1.61, 1.07))
        self.assertEqual(guard.claim_of("1.61 (1.07–1.70)").bound(20), 1.07)
        self.assertEqual(guard.claim_of("1.61 (1.30–1.70)").bound(20), guard.ENOUGH)
        self.assertAlmostEqual(guard.claim_of("1.00 (0.90–1.10)").bound(20), 0.85)
        for cell in ("", "fast", "1.61 (1.07)", "1.61 k"):
            with self.assertRaises(guard.Failed):
                guard.claim_of(cell)

    def test_the_document_has_the_ratios_of_each_cell(self):
        with open(guard.RESULTS, encoding="utf-8") as file:
            text = file.read()
        for cache in (512 << 10, 1 << 20):
            self.assertEqual(len(guard.claims(text, cache)), 2 * len(guard.CELLS), cache)
        self.assertNotEqual(guard.claims(text, 512 << 10), guard.claims(text, 1 << 20))

    def test_a_document_without_the_figures_is_an_error(self):
        with self.assertRaises(guard.Failed):
            guard.claims("no table", self.CACHE)
        with self.assertRaises(guard.Failed):
            guard.claimed(guard.claims(self.TABLE, self.CACHE), self.CELL, "another")


if __name__ == "__main__":
    unittest.main()
