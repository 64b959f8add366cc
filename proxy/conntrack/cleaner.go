package conntrack

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

// Cleaner deletes stale flows of one family. It goes through the kernel's table once for all changes that came since it began to
// the last time, and keeps nobody waiting: a table of 200,000 flows takes about a second.
type Cleaner struct {
	// Family is the flows' address family.
	Family corev1.IPFamily
	// Cleaned is told how long each time took and how many flows were deleted; nil for nobody.
	Cleaned func(took time.Duration, deleted int)

	mutex   sync.Mutex
	changed Services
	wake    chan struct{}
}

// NewCleaner makes a Cleaner; Run cleans.
func NewCleaner(family corev1.IPFamily) *Cleaner {
	return &Cleaner{Family: family, changed: ServicesOf(nil, nil), wake: make(chan struct{}, 1)}
}

// Changed says that the rules lead to ports now, and to gone no longer. It returns at once, and may be called concurrently with Run.
func (c *Cleaner) Changed(ports, gone []plan.Port) {
	services := ServicesOf(ports, gone)
	if services.Empty() {
		return
	}
	c.mutex.Lock()
	c.changed.merge(services)
	c.mutex.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Cleaner) take() Services {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	changed := c.changed
	c.changed = ServicesOf(nil, nil)
	return changed
}

// Run cleans the network namespace at path until ctx is done.
func (c *Cleaner) Run(ctx context.Context, path string) error {
	return netns.Do(path, func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-c.wake:
				c.clean()
			}
		}
	})
}

func (c *Cleaner) clean() {
	started := time.Now()
	deleted, err := DeleteStale(c.Family, c.take())
	if err != nil {
		slog.Error("clients of UDP and SCTP Services may still be sent to where their Service was", "error", err)
	}
	if deleted > 0 {
		slog.Info("deleted stale conntrack entries", "entries", deleted, "family", c.Family)
	}
	if c.Cleaned != nil {
		c.Cleaned(time.Since(started), deleted)
	}
}
