// Echo on ws, with bufferutil for masking: `node echo.js PORT`.

import { WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  backlog: 65535,
  maxPayload: 16 * 1024 * 1024,
  perMessageDeflate: false,
  clientTracking: false,
});

server.on('connection', (socket, request) => {
  // The TCP socket stays corked until all messages of one read are echoed, so that their replies
  // are sent by one system call.
  const tcp = request.socket;
  let corked = false;
  const uncork = () => {
    corked = false;
    tcp.uncork();
  };
  socket.on('message', (data, isBinary) => {
    if (!corked) {
      corked = true;
      tcp.cork();
      process.nextTick(uncork);
    }
    socket.send(data, { binary: isBinary });
  });
  socket.on('error', () => {});
});
