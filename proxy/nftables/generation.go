package nftables

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// generations are the latest generations of network namespaces that this process made: each transaction makes one. The backends of both
// families share them, so that neither takes the other's work for someone else's.
var generations = struct {
	sync.Mutex
	made map[generation]bool
	// order has the latest ones, in a ring.
	order [4096]generation
	next  int
}{made: map[generation]bool{}}

type generation struct {
	namespace uint64
	number    uint32
}

// commit sends a batch and notes the generation that it made. It does nothing if the batch has nothing to do.
func commit(c *connection, b *batch) error {
	if b.empty() {
		return nil
	}
	namespace, err := networkNamespace()
	if err != nil {
		return err
	}
	generations.Lock()
	defer generations.Unlock()
	before, err := c.generation()
	if err != nil {
		return err
	}
	if err := c.commit(b); err != nil {
		return err
	}
	after, err := c.generation()
	if err != nil {
		return err
	}
	if after != before+1 {
		return nil // someone else changed rules, too: Difference will look at them
	}
	delete(generations.made, generations.order[generations.next])
	made := generation{namespace, after}
	generations.made[made], generations.order[generations.next] = true, made
	generations.next = (generations.next + 1) % len(generations.order)
	return nil
}

// onlyOurs says whether this process made all generations after one, up to another.
func onlyOurs(from, to uint32) (bool, error) {
	namespace, err := networkNamespace()
	if err != nil {
		return false, err
	}
	generations.Lock()
	defer generations.Unlock()
	if to-from > uint32(len(generations.order)) {
		return false, nil
	}
	for number := from; number != to; number++ {
		if !generations.made[generation{namespace, number + 1}] {
			return false, nil
		}
	}
	return true, nil
}

// networkNamespace is the number of the calling thread's network namespace.
func networkNamespace() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return 0, fmt.Errorf("look at own network namespace: %w", err)
	}
	return stat.Ino, nil
}
