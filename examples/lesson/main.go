package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubelite/kubelite/examples/classroom"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: lesson EXERCISE...   (folders of examples/, such as sleep)")
		os.Exit(2)
	}
	if err := show(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// show boots a cluster, runs the exercises on it with their transcript on standard output, and removes the cluster.
func show(ctx context.Context, exercises []string) (err error) {
	fmt.Println("$ kubelite up --nodes 2 --uplink off")
	room, err := classroom.Start(ctx, "demo", os.Stdout)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Println("\n$ kubelite down --purge")
		err = errors.Join(err, room.Stop(context.WithoutCancel(ctx), os.Stdout))
	}()
	for _, exercise := range exercises {
		fmt.Printf("\n--- %s (examples/%s/README.md) ---\n", exercise, exercise)
		if err := teach(ctx, room, exercise, os.Stdout); err != nil {
			return err
		}
	}
	return nil
}
