// Echo on Bun.serve, which uses uWebSockets: `bun echo.js PORT`.

Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response('This is a WebSocket server.\n', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 16 * 1024 * 1024,
    // Bun drops messages beyond this limit; an echo server must not drop any.
    backpressureLimit: 1024 * 1024 * 1024,
    idleTimeout: 0,
    sendPings: false,
    message(socket, message) {
      socket.send(message);
    },
  },
});
