package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"golang.org/x/sys/unix"
)

const (
	setUps       = 2000            // connections, one after the other
	rateWorkers  = 2               // that connect at once
	rateDuration = time.Second     // for which they do
	streamLength = 2 * time.Second // for which one connection reads
)

// dataPath is what a client feels. A connection counts when the endpoint's first bytes are there: in mode userspace the node
// accepts clients before an endpoint does.
type dataPath struct {
	setUp     sample  // of a connection, alone
	rate      float64 // connections a second
	bandwidth float64 // bits a second of one connection
}

// measureDataPath measures connections from the namespace.
func measureDataPath(ctx context.Context, client string, to netip.AddrPort) (*dataPath, error) {
	d := &dataPath{}
	err := netns.Do(client, func() error {
		for range setUps {
			started := time.Now()
			if _, err := answerer(to, time.Second); err != nil {
				return err
			}
			d.setUp.since(started)
		}
		return nil
	})
	if err == nil {
		d.rate, err = connectionsPerSecond(client, to)
	}
	if err == nil {
		d.bandwidth, err = stream(ctx, client, to)
	}
	return d, err
}

func connectionsPerSecond(client string, to netip.AddrPort) (float64, error) {
	var count atomic.Int64
	var failures [rateWorkers]error
	var workers sync.WaitGroup
	started := time.Now()
	for i := range rateWorkers {
		workers.Go(func() {
			failures[i] = netns.Do(client, func() error {
				for time.Since(started) < rateDuration {
					if _, err := answerer(to, time.Second); err != nil {
						return err
					}
					count.Add(1)
				}
				return nil
			})
		})
	}
	workers.Wait()
	return float64(count.Load()) / time.Since(started).Seconds(), errors.Join(failures[:]...)
}

// stream reads from one connection as fast as it can.
func stream(ctx context.Context, client string, to netip.AddrPort) (float64, error) {
	bits := 0.0
	err := netns.Do(client, func() error {
		fd, err := connect(to, time.Second)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, []byte(streamCommand)); err != nil {
			return errors.Join(err, reset(fd))
		}
		buffer := make([]byte, 1<<20)
		started, received := time.Now(), 0
		for time.Since(started) < streamLength && ctx.Err() == nil {
			n, err := uninterrupted(func() (int, error) { return unix.Read(fd, buffer) })
			if err != nil || n == 0 {
				return errors.Join(err, errNoAnswer, reset(fd))
			}
			received += n
		}
		bits = float64(8*received) / time.Since(started).Seconds()
		return reset(fd)
	})
	return bits, err
}
