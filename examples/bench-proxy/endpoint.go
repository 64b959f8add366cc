package main

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
)

// streamCommand asks an endpoint for as many bytes as it can send.
const streamCommand = "S"

// idleLimit ends connections that a client left open.
const idleLimit = 10 * time.Second

// serveEndpoints answers every connection to any endpoint's address: first with that address in 4 bytes, and to streamCommand
// with zeros. It ends when the listener is closed.
func serveEndpoints(path string) (io.Closer, error) {
	listener, err := netns.Listen(path, "tcp4", fmt.Sprintf(":%d", endpointPort))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveEndpoint(conn)
		}
	}()
	return listener, nil
}

func serveEndpoint(conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(idleLimit)); err != nil {
		return
	}
	address := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().As4()
	if _, err := conn.Write(address[:]); err != nil {
		return
	}
	command := make([]byte, len(streamCommand))
	if _, err := io.ReadFull(conn, command); err != nil || string(command) != streamCommand {
		return
	}
	for zeros := make([]byte, 1<<20); ; {
		if _, err := conn.Write(zeros); err != nil {
			return
		}
	}
}
