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

// retryInterval is the pause before the table is gone through again after that went wrong.
const retryInterval = time.Second

// Cleaner deletes stale flows of one family. It goes through the kernel's table once for all changes that came since it began to
// the last time, and keeps nobody waiting: a table of 200,000 flows takes about a second.
type Cleaner struct {
	// Family is the flows' address family.
	Family corev1.IPFamily
	// Cleaned is told how long each time took and how many flows were deleted; nil for nobody.
	Cleaned func(took time.Duration, deleted int)

	// deleteStale is DeleteStale but in tests.
	deleteStale func(corev1.IPFamily, Services) (int, error)
	complaint   string // why the last time went wrong; empty if it did not

	mutex   sync.Mutex
	changed Services
	wake    chan struct{}
}

// NewCleaner makes a Cleaner; Run cleans.
func NewCleaner(family corev1.IPFamily) *Cleaner {
	return &Cleaner{Family: family, deleteStale: DeleteStale, changed: ServicesOf(nil, nil), wake: make(chan struct{}, 1)}
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

// putBack makes the next take return services, too, but for those of which there is newer word.
func (c *Cleaner) putBack(services Services) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	services.merge(c.changed)
	c.changed = services
}

// Run cleans the network namespace at path until ctx is done. What went wrong is tried again: the kernel breaks off the list of the
// node's addresses when one of them changes meanwhile, as with every Service in mode ipvs.
func (c *Cleaner) Run(ctx context.Context, path string) error {
	return netns.Do(path, func() error {
		var again <-chan time.Time // nil, which never comes, while nothing is to be tried again
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-c.wake:
			case <-again:
			}
			again = nil
			if !c.clean() {
				again = time.After(retryInterval)
			}
		}
	})
}

// clean says whether it went through the table.
func (c *Cleaner) clean() bool {
	started, services := time.Now(), c.take()
	deleted, err := c.deleteStale(c.Family, services)
	complaint := ""
	if err != nil {
		c.putBack(services)
		complaint = err.Error()
	}
	if complaint != "" && complaint != c.complaint { // once, not every second
		slog.Error("clients of UDP and SCTP Services may still be sent to where their Service was; trying again", "family", c.Family, "error", err)
	}
	c.complaint = complaint
	if deleted > 0 {
		slog.Info("deleted stale conntrack entries", "entries", deleted, "family", c.Family)
	}
	if c.Cleaned != nil {
		c.Cleaned(time.Since(started), deleted)
	}
	return err == nil
}
