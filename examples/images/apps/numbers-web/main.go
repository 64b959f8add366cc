package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	version := flag.String("version", "v1", "which look the page has: v1 or v2")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, ":80", *version); err != nil {
		fmt.Fprintln(os.Stderr, "numbers-web:", err)
		os.Exit(1)
	}
}

// run serves until the context is done.
func run(ctx context.Context, address, version string) error {
	if version != "v1" && version != "v2" {
		return fmt.Errorf("-version must be v1 or v2, not %q", version)
	}
	site := newSite(cmp.Or(os.Getenv("RngApi__Url"), defaultAPI), version)
	server := &http.Server{Addr: address, Handler: site.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }() // ends when the server is shut down
	slog.Info("listening", "address", address, "version", version, "api", site.api)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	inProgress, cancel := context.WithTimeout(context.Background(), callTimeout+time.Second)
	defer cancel()
	err := server.Shutdown(inProgress)
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
