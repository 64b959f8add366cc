// Command bench-proxy measures the service proxy in every mode, and prints tables for docs/benchmarks.md. `make bench-proxy`
// runs it as root. It never judges a number.
//
// It starts a real `kubelite server`, makes N Services with five endpoints each through its API, and for each mode a node with a
// real `kubelite service-proxy`; all of it in network namespaces of its own, which one process of endpoints completes: it
// answers at every endpoint's address. Times of a sync are the proxy's own (its metrics); what a client sees is measured by
// connecting from a namespace behind the node, as a Pod's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kubelite/kubelite/proxy/ipvs"
)

// options are the command line.
type options struct {
	kubelite string
	variants []variant
	services []int
	changes  int
	pods     int
	keepLogs string
}

// largest is how many Services a variant is measured with at most when -services does not say.
var largest = map[string]int{"iptables-nft": 10000, "iptables-legacy": 10000, "nftables": 50000, "ipvs": 10000, "userspace": 1000}

// readinessServices is among how many Services Pods become Ready and go.
const readinessServices = 1000

func main() {
	var o options
	var modes, services string
	flag.StringVar(&o.kubelite, "kubelite", "bin/kubelite", "the program to measure")
	flag.StringVar(&modes, "modes", "iptables-nft,iptables-legacy,nftables,ipvs,userspace", "what to measure")
	flag.StringVar(&services, "services", "", "numbers of Services (default 100, 1000, 10000 and for nftables 50000; userspace up to 1000)")
	flag.IntVar(&o.changes, "changes", 50, "changes of each kind")
	flag.IntVar(&o.pods, "pods", 100, "Pods that become Ready and go")
	flag.StringVar(&o.keepLogs, "logs", "", "an empty folder for logs, to keep (default a temporary one)")
	flag.Parse()
	if err := o.parse(modes, services); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (o *options) parse(modes, services string) error {
	for name := range strings.SplitSeq(modes, ",") {
		i := slices.IndexFunc(variants, func(v variant) bool { return v.name == name })
		if i < 0 {
			return fmt.Errorf("there is no mode %q", name)
		}
		o.variants = append(o.variants, variants[i])
	}
	if services == "" {
		o.services = []int{100, 1000, 10000, 50000}
		return nil
	}
	clear(largest)
	for text := range strings.SplitSeq(services, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 50000 {
			return fmt.Errorf("-services %s: not a number from 1 to 50000", text)
		}
		o.services = append(o.services, n)
	}
	slices.Sort(o.services)
	return nil
}

// bench is one run.
type bench struct {
	options   options
	directory string // for logs, keys and the store
	lab       *lab
	load      *load
	extra     int // objects made beside the load
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o, directory: o.keepLogs}
	if b.directory == "" {
		if b.directory, err = os.MkdirTemp("", "bench-proxy-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.directory)) }()
	}
	if b.options.kubelite, err = filepath.Abs(o.kubelite); err != nil {
		return err
	}
	if b.directory, err = filepath.Abs(b.directory); err != nil { // PATH ignores relative folders
		return err
	}
	if err := b.linkIPTables(); err != nil {
		return err
	}
	if b.lab, err = newLab(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.close()) }()
	endpoints, err := serveEndpoints(b.lab.pods)
	if err != nil {
		return err
	}
	defer endpoints.Close()
	server, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	b.load = &load{client: server.client}
	return b.measureAll(ctx, os.Stdout)
}

// measureAll grows the load step by step, measures each variant at each step, and prints what it has even when it fails.
func (b *bench) measureAll(ctx context.Context, out io.Writer) (err error) {
	var results []*result
	defer func() { report(out, results) }()
	for _, services := range b.options.services {
		if !slices.ContainsFunc(b.options.variants, func(v variant) bool { return wanted(v, services) }) {
			continue
		}
		started := time.Now()
		calls, err := b.load.grow(ctx, services)
		if err != nil {
			return err
		}
		if len(*calls) > 0 {
			fmt.Fprintf(os.Stderr, "%d API calls by %d clients in %s: median %s, p99 %s\n", len(*calls), creators, short(time.Since(started)),
				short(calls.median()), short(calls.quantile(0.99)))
		}
		for _, v := range b.options.variants {
			if !wanted(v, services) {
				continue
			}
			if v.mode == "ipvs" {
				if err := ipvs.Check(""); err != nil {
					fmt.Fprintln(os.Stderr, "ipvs is left out:", err)
					continue
				}
			}
			started := time.Now()
			result, err := b.measureVariant(ctx, v, services)
			if err != nil {
				return fmt.Errorf("%s with %d Services: %w", v.name, services, err)
			}
			results = append(results, result)
			fmt.Fprintf(os.Stderr, "%s with %d Services: measured in %s\n", v.name, services, short(time.Since(started)))
		}
	}
	return nil
}

func wanted(v variant, services int) bool {
	limit, limited := largest[v.name]
	return !limited || services <= limit
}
