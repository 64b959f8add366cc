package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, ":8080", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kubia:", err)
		os.Exit(1)
	}
}

// run serves until the context is done.
func run(ctx context.Context, address string, log io.Writer) error {
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Fprintln(log, "Kubia server starting...")
	server := &http.Server{Addr: address, Handler: handler(hostname, log), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }() // ends when the server is shut down
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	inProgress, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = server.Shutdown(inProgress)
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// handler answers any path and method.
func handler(hostname string, log io.Writer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(log, "Received request from", caller(r.RemoteAddr))
		fmt.Fprintf(w, "You've hit %s\n", hostname)
	})
}

// caller is the address in a remote "address:port", spelt as the book's app spells it: Node.js listens on IPv6, where an IPv4
// address reads ::ffff:10.244.0.1.
func caller(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() != nil {
		return "::ffff:" + ip.To4().String()
	}
	return host
}
