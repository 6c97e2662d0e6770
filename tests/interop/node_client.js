// `node_client.js URL CA CASE`: one connection of the library ws. Exits with 0 if the case passes.
"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const { once } = require("node:events");
const fs = require("node:fs");
const WebSocket = require("ws");

const [url, ca, name] = process.argv.slice(2);

async function open(options) {
  const socket = new WebSocket(url, { ca: fs.readFileSync(ca), maxPayload: 1 << 26, ...options });
  await once(socket, "open");
  return socket;
}

async function echo(socket, message, binary) {
  socket.send(message, { binary });
  const [received, isBinary] = await once(socket, "message");
  assert.strictEqual(isBinary, binary);
  assert.ok(Buffer.from(message).equals(received), `an echo of ${message.length} differs`);
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

  async fragments() {
    const socket = await open({ perMessageDeflate: false });
    const fragments = [1, 0, 16383, 16384, 16385, 100000].map((size) => crypto.randomBytes(size));
    for (const fragment of fragments) socket.send(fragment, { fin: false });
    socket.send("", { fin: true });
    const [received] = await once(socket, "message");
    assert.ok(Buffer.concat(fragments).equals(received));
    socket.terminate();
  },

  async close() {
    for (const code of [1000, 1001, 3000, 4999]) {
      const socket = await open();
      socket.close(code, "reason");
      const [received] = await once(socket, "close");
      assert.strictEqual(received, code);
    }
  },

  async ping() {
    const socket = await open();
    socket.ping("payload");
    const [payload] = await once(socket, "pong");
    assert.strictEqual(payload.toString(), "payload");
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
    const socket = new WebSocket(url, { ca: fs.readFileSync(ca) });
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
