// Echo on gorilla/websocket: `echo PORT`.
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

const maxMessage = 16 << 20

// Capacity of the buffer. A write of at least this size bypasses it.
const gatherLimit = 16 << 10

// gathering buffers small writes until the next read, so that replies to messages that arrived
// together are sent by one system call. The library itself makes one call per message.
type gathering struct {
	*net.TCPConn
	pending []byte
}

func (c *gathering) flush(last []byte) error {
	buffers := net.Buffers{c.pending, last}
	if len(c.pending) == 0 {
		buffers = buffers[1:]
	}
	_, err := buffers.WriteTo(c.TCPConn)
	c.pending = c.pending[:0]
	return err
}

func (c *gathering) Write(b []byte) (int, error) {
	if len(c.pending)+len(b) < gatherLimit {
		c.pending = append(c.pending, b...)
		return len(b), nil
	}
	if err := c.flush(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *gathering) Read(b []byte) (int, error) {
	if len(c.pending) > 0 {
		if err := c.flush(nil); err != nil {
			return 0, err
		}
	}
	return c.TCPConn.Read(b)
}

func (c *gathering) Close() error {
	if len(c.pending) > 0 {
		c.flush(nil)
	}
	return c.TCPConn.Close()
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gathering{TCPConn: conn.(*net.TCPConn)}, nil
}

// Large payloads bypass the read buffer. Connections share write buffers.
var upgrader = websocket.Upgrader{
	ReadBufferSize:  4 << 10,
	WriteBufferSize: 4 << 10,
	WriteBufferPool: &sync.Pool{},
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetReadLimit(maxMessage)
	var message []byte
	for {
		kind, reader, err := conn.NextReader()
		if err != nil {
			return
		}
		if message, err = readAll(reader, message[:0]); err != nil {
			return
		}
		if err = conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

// readAll is io.ReadAll with a buffer that is reused for the next message.
func readAll(reader io.Reader, buffer []byte) ([]byte, error) {
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		n, err := reader.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		if err == io.EOF {
			return buffer, nil
		}
		if err != nil {
			return buffer, err
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: echo PORT")
	}
	socket, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(echo), ErrorLog: log.New(io.Discard, "", 0)}
	log.Fatal(server.Serve(listener{socket}))
}
