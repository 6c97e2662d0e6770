// `ws_client.js URL CASE [CA]`: one connection of the library ws. Exits with 0 if the case passes.
"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const { once } = require("node:events");
const fs = require("node:fs");
const WebSocket = require("ws");

const [url, name, ca] = process.argv.slice(2);
const trusted = ca ? { ca: fs.readFileSync(ca) } : {};

async function open(options = {}, subprotocols = []) {
  const socket = new WebSocket(url, subprotocols, { ...trusted, maxPayload: 1 << 26, ...options });
  await once(socket, "open");
  return socket;
}

async function echo(socket, message, binary) {
  socket.send(message, { binary });
  const [received, isBinary] = await once(socket, "message");
  assert.strictEqual(isBinary, binary);
  assert.ok(Buffer.from(message).equals(received), `an echo of ${message.length} differs`);
}

async function closing(socket) {
  const [code, reason] = await once(socket, "close");
  return { code, reason: reason.toString() };
}

const cases = {
  async echo() {
    const socket = await open();
    for (const size of [0, 1, 125, 126, 16384, 65535, 65536, 1 << 20]) {
      await echo(socket, crypto.randomBytes(size), true);
      await echo(socket, "é".repeat(size / 2), false);
    }
    socket.terminate();
  },

  async deflate() {
    const socket = await open();
    assert.match(socket.extensions, /permessage-deflate/);
    for (const size of [1, 125, 126, 65536, 1 << 20]) {
      await echo(socket, crypto.randomBytes(size), true);
    }
    const before = socket._socket.bytesRead;
    for (let count = 0; count < 100; count += 1) await echo(socket, "compressible ".repeat(1000), false);
    const received = socket._socket.bytesRead - before;
    assert.ok(received < 100_000, `the 1.3 MB of text took ${received} bytes`);
    // Fragments of one compressed message.
    for (const fragment of ["one ", "two ", "", "three"]) socket.send(fragment, { fin: false });
    socket.send("!", { fin: true });
    const [joined] = await once(socket, "message");
    assert.strictEqual(joined.toString(), "one two three!");
    socket.terminate();
  },

  async fragments() {
    const socket = await open({ perMessageDeflate: false });
    const fragments = [1, 0, 16383, 16384, 16385, 100000].map((size) => crypto.randomBytes(size));
    for (const fragment of fragments) socket.send(fragment, { fin: false });
    socket.ping("between");
    const [payload] = await once(socket, "pong");
    assert.strictEqual(payload.toString(), "between");
    socket.send("", { fin: true });
    const [received] = await once(socket, "message");
    assert.ok(Buffer.concat(fragments).equals(received));
    socket.terminate();
  },

  async close() {
    const socket = await open();
    socket.close(4321, "réason");
    assert.strictEqual((await closing(socket)).code, 4321);
  },

  async closed() {
    const socket = await open();
    socket.send("/close 4444 réason");
    assert.deepStrictEqual(await closing(socket), { code: 4444, reason: "réason" });
  },

  async codes() {
    for (const code of [1000, 1001, 3000, 4999]) {
      const socket = await open();
      socket.close(code, "reason");
      assert.strictEqual((await closing(socket)).code, code);
    }
  },

  async ping() {
    const socket = await open();
    socket.ping("payload");
    const [payload] = await once(socket, "pong");
    assert.strictEqual(payload.toString(), "payload");
    socket.terminate();
  },

  async pinged() {
    const socket = await open();
    socket.send("/ping payload");
    const [payload] = await once(socket, "ping");
    assert.strictEqual(payload.toString(), "payload");
    const [answer] = await once(socket, "message");
    assert.strictEqual(answer.toString(), "pong payload");
    socket.terminate();
  },

  async subprotocol() {
    const socket = await open({}, ["chat", "superchat"]);
    assert.strictEqual(socket.protocol, "chat");
    socket.terminate();
  },

  async resumption() {
    // The ticket may arrive before the response to the upgrade.
    let ticket;
    const finishRequest = (request) => {
      ticket = once(request, "socket").then(([socket]) => once(socket, "session"));
      request.end();
    };
    const first = await open({ finishRequest });
    assert.strictEqual(first._socket.isSessionReused(), false);
    await echo(first, "first", false);
    const [session] = await ticket;
    const second = await open({ session });
    assert.strictEqual(second._socket.isSessionReused(), true);
    await echo(second, "second", false);
    first.terminate();
    second.terminate();
  },

  async unverified() {
    const socket = new WebSocket(url, trusted);
    const [error] = await once(socket, "error");
    assert.match(error.code, /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE/);
  },
};

cases[name]().then(
  () => console.log(`${name}: passed`),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
