// `websocket_server.js`: an echo server of the library websocket on a port of the system, which it
// prints. On the path /fragments it sends fragments of 1000 bytes, on /chat it echoes only with the
// subprotocol chat.
"use strict";

const http = require("node:http");
const { server: Server } = require("websocket");

const httpServer = http.createServer();
const options = { httpServer, maxReceivedFrameSize: 1 << 26, maxReceivedMessageSize: 1 << 26 };
new Server({ ...options, fragmentOutgoingMessages: false }).on("request", (request) => {
  const subprotocol = request.requestedProtocols.includes("chat") ? "chat" : null;
  const connection = request.accept(subprotocol, request.origin);
  if (request.resource === "/chat" && connection.protocol !== "chat") connection.close(4002);
  connection.config = {
    ...connection.config,
    fragmentOutgoingMessages: request.resource === "/fragments",
    fragmentationThreshold: 1000,
  };
  connection.on("message", (message) => {
    if (message.type === "utf8") connection.sendUTF(message.utf8Data);
    else connection.sendBytes(message.binaryData);
  });
});
httpServer.listen(0, "127.0.0.1", () => console.log(httpServer.address().port));
