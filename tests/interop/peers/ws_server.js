// `ws_server.js [CERTIFICATE KEY]`: a server of the library ws on a port of the system, which it
// prints. It echoes; on the path /fragments in three fragments with a ping before the second, on
// /chat only with the subprotocol chat. On /closing it closes with 4001 and a reason after the first
// message.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [cert, key] = process.argv.slice(2);
const server = cert
  ? https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
  : http.createServer();

const echoes = {
  "/": (socket, message, binary) => socket.send(message, { binary }),
  "/fragments": (socket, message, binary) => {
    const cut = message.length >> 1;
    socket.send(message.subarray(0, cut), { binary, fin: false });
    socket.ping("between");
    socket.once("pong", () => {
      socket.send("", { fin: false });
      socket.send(message.subarray(cut), { fin: true });
    });
  },
  "/chat": (socket, message, binary) => {
    if (socket.protocol === "chat") socket.send(message, { binary });
    else socket.close(4002);
  },
  "/closing": (socket) => socket.close(4001, "réason"),
};

const options = { server, maxPayload: 1 << 26, perMessageDeflate: true, handleProtocols: () => "chat" };
new WebSocketServer(options).on("connection", (socket, request) => {
  socket.on("error", (error) => console.error(error));
  socket.on("message", (message, binary) => echoes[request.url](socket, message, binary));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
