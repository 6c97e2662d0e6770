// Fan-out on Bun.serve, which uses uWebSockets' topics: `bun fanout.js PORT`. Each message goes to all
// connections, its sender included.

const TOPIC = 'all';

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response('This is a WebSocket server.\n', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 16 * 1024 * 1024,
    // Bun drops messages beyond this limit.
    backpressureLimit: 1024 * 1024 * 1024,
    idleTimeout: 0,
    sendPings: false,
    open(socket) {
      socket.subscribe(TOPIC);
    },
    message(_, message) {
      // The publish of a socket excludes the socket itself; that of the server includes it.
      server.publish(TOPIC, message);
    },
  },
});
