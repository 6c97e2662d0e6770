// `node_server.js CERTIFICATE KEY`: an echo server of the library ws on a port of the system, which
// it prints.
"use strict";

const fs = require("node:fs");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [cert, key] = process.argv.slice(2);
const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
new WebSocketServer({ server, maxPayload: 1 << 26 }).on("connection", (socket) => {
  socket.on("error", (error) => console.error(error));
  socket.on("message", (message, binary) => socket.send(message, { binary }));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
