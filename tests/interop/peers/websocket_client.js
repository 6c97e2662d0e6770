// `websocket_client.js URL CASE`: one connection of the library websocket. Exits with 0 if the case
// passes.
"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const { once } = require("node:events");
const { client: Client } = require("websocket");

const [url, name] = process.argv.slice(2);

async function open(options = {}, subprotocols = []) {
  const limits = { maxReceivedFrameSize: 1 << 26, maxReceivedMessageSize: 1 << 26 };
  const client = new Client({ fragmentOutgoingMessages: false, ...limits, ...options });
  client.connect(url, subprotocols);
  client.once("connectFailed", (error) => client.emit("error", error));
  const [connection] = await once(client, "connect");
  return connection;
}

async function echo(connection, message) {
  const reply = once(connection, "message");
  if (typeof message === "string") connection.sendUTF(message);
  else connection.sendBytes(message);
  const [received] = await reply;
  assert.strictEqual(received.type, typeof message === "string" ? "utf8" : "binary");
  const same = received.type === "utf8" ? received.utf8Data === message : received.binaryData.equals(message);
  assert.ok(same, `an echo of ${message.length} differs`);
}

async function closing(connection) {
  const [code, reason] = await once(connection, "close");
  return { code, reason };
}

const cases = {
  async echo() {
    const connection = await open();
    for (const size of [0, 1, 125, 126, 16384, 65535, 65536, 1 << 20]) {
      await echo(connection, crypto.randomBytes(size));
      await echo(connection, "é".repeat(size / 2));
    }
    connection.drop();
  },

  async fragments() {
    const connection = await open({ fragmentOutgoingMessages: true, fragmentationThreshold: 1000 });
    await echo(connection, crypto.randomBytes(100_000));
    await echo(connection, "€".repeat(33_333));
    connection.drop();
  },

  async close() {
    const connection = await open();
    // The library reports the code that it has sent, if the server answers.
    const end = closing(connection);
    connection.close(4321, "réason");
    assert.strictEqual((await end).code, 4321);
  },

  async closed() {
    const connection = await open();
    connection.sendUTF("/close 4444 réason");
    assert.deepStrictEqual(await closing(connection), { code: 4444, reason: "réason" });
  },

  async ping() {
    const connection = await open();
    connection.ping("payload");
    const [payload] = await once(connection, "pong");
    assert.strictEqual(payload.toString(), "payload");
    connection.drop();
  },

  async pinged() {
    const connection = await open();
    connection.sendUTF("/ping payload");
    const [answer] = await once(connection, "message");
    assert.strictEqual(answer.utf8Data, "pong payload");
    connection.drop();
  },

  async subprotocol() {
    const connection = await open({}, ["chat", "superchat"]);
    assert.strictEqual(connection.protocol, "chat");
    connection.drop();
  },
};

cases[name]().then(
  () => {
    console.log(`${name}: passed`);
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
