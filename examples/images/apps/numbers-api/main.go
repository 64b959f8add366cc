package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, ":80"); err != nil {
		fmt.Fprintln(os.Stderr, "numbers-api:", err)
		os.Exit(1)
	}
}

// run serves until the context is done.
func run(ctx context.Context, address string) error {
	numbers := &api{}
	if text := os.Getenv("FailAfterCallCount"); text != "" {
		var err error
		if numbers.failAfter, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("FailAfterCallCount must be a number of calls, not %q", text)
		}
	}
	server := &http.Server{Addr: address, Handler: numbers.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }() // ends when the server is shut down
	slog.Info("listening", "address", address, "FailAfterCallCount", numbers.failAfter)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	inProgress, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := server.Shutdown(inProgress)
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
