// Command bench measures what the documentation claims, on real clusters, and prints the medians. `make bench` runs it.
//
// It boots and removes clusters of two nodes, one after the other, and on one of them applies Deployments. Images are unpacked
// before anything is measured. Connections are made from inside a node's network namespace. It never judges a number.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/kubelite/kubelite/examples/classroom"
)

func main() {
	clusters := flag.Int("clusters", 5, "how many clusters to boot and remove")
	deployments := flag.Int("deployments", 20, "how many Deployments to apply, one after the other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, *clusters, *deployments); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// sample are the values measured of one thing, in its unit.
type sample struct {
	what, unit string
	values     []float64
}

func (s *sample) add(value float64) { s.values = append(s.values, value) }

func (s *sample) since(start time.Time) { s.add(float64(time.Since(start).Microseconds()) / 1000) }

func measure(ctx context.Context, clusters, deployments int) (err error) {
	up := &sample{what: "kubelite up --nodes 2, to both nodes Ready and DNS answering", unit: "ms"}
	resume := &sample{what: "kubelite up again after down (objects kept)", unit: "ms"}
	down := &sample{what: "kubelite down", unit: "ms"}
	memory := &sample{what: "all kubelite and conmon processes, two idle nodes with DNS (PSS)", unit: "MiB"}
	ready := &sample{what: "kubelite apply of a one-replica Deployment, to Ready", unit: "ms"}
	reachable := &sample{what: "Pod Ready to reachable through its Service on the other node", unit: "ms"}
	binary := &sample{what: "the binary", unit: "MB"}

	room, err := classroom.New(ctx, "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, room.Stop(context.WithoutCancel(ctx), io.Discard)) }()
	info, err := os.Stat(room.Binary())
	if err != nil {
		return err
	}
	binary.add(float64(info.Size()) / 1e6)
	for i := range clusters + 1 { // the first one unpacks the images and is not counted
		timed := func(s *sample, f func() error) error {
			start := time.Now()
			if err := f(); err != nil {
				return err
			}
			if i > 0 {
				s.since(start)
			}
			return nil
		}
		bootIt := func() error { return room.Up(ctx, io.Discard) }
		takeItDown := func() error { return room.Kubelite(ctx, io.Discard, "down") }
		if err := timed(up, bootIt); err != nil {
			return err
		}
		if i == 1 {
			if err := measureMemory(ctx, room, memory); err != nil {
				return err
			}
			if err := measureDeployments(ctx, room, deployments, ready, reachable); err != nil {
				return err
			}
		}
		if err := timed(down, takeItDown); err != nil {
			return err
		}
		if err := timed(resume, bootIt); err != nil {
			return err
		}
		if err := room.Stop(ctx, io.Discard); err != nil {
			return err
		}
	}
	return report(os.Stdout, up, ready, reachable, memory, down, resume, binary)
}

// report prints minimum, median and maximum of each sample.
func report(out io.Writer, samples ...*sample) error {
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what\tmedian\tmin\tmax\tn\t")
	for _, s := range samples {
		slices.Sort(s.values)
		n := len(s.values)
		if n == 0 {
			continue
		}
		fmt.Fprintf(table, "%s\t%.1f %s\t%.1f\t%.1f\t%d\t\n", s.what, s.values[n/2], s.unit, s.values[0], s.values[n-1], n)
	}
	return table.Flush()
}
