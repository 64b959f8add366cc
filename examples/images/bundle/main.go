package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	output := flag.String("o", "bin/images.tar", "`file` to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *output); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

// run makes the bundle and puts it in its place when it is whole.
func run(ctx context.Context, output string) error {
	start := time.Now()
	output, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	packages, err := openPackages(filepath.Join(filepath.Dir(output), "packages"))
	if err != nil {
		return err
	}
	pool, err := packages.fetch(ctx, debianPackages())
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(output), ".bundle-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	apps, err := buildApps(ctx, work)
	if err != nil {
		return err
	}
	images, err := makeImages(ctx, pool, apps)
	if err != nil {
		return err
	}
	if err := writeBundle(work, output, images); err != nil {
		return fmt.Errorf("write %s: %w", output, err)
	}
	return report(os.Stdout, output, images, time.Since(start))
}
