package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/iptables"
	"github.com/kubelite/kubelite/proxy/ipvs"
	"github.com/kubelite/kubelite/proxy/nftables"
	"github.com/kubelite/kubelite/proxy/userspace"
)

// Mode is a way to make the kernel do what a plan says.
type Mode string

// The modes have kube-proxy's names, among them two that it has no longer or soon will not have.
const (
	IPTables  Mode = "iptables"
	NFTables  Mode = "nftables"
	IPVS      Mode = "ipvs"
	Userspace Mode = "userspace"
)

// Modes lists all modes, the default first.
func Modes() []Mode { return []Mode{IPTables, NFTables, IPVS, Userspace} }

// modes are the modes' ways to start and to end.
var modes = map[Mode]struct {
	// start makes a backend. What it starts beside, it ends when the context does.
	start func(context.Context, Config, backend.Options) (backend.Backend, error)
	// cleanup removes every trace of the mode from the calling thread's network namespace. Where there is none it does nothing.
	cleanup func(context.Context) error
	// relays says that connections go through the proxy's process: which endpoint they go to is nothing that the kernel tracks.
	relays bool
}{
	IPTables: {
		start: func(_ context.Context, _ Config, options backend.Options) (backend.Backend, error) {
			return iptables.New(options)
		},
		cleanup: iptables.Cleanup,
	},
	NFTables: {
		start: func(_ context.Context, _ Config, options backend.Options) (backend.Backend, error) {
			return nftables.New(options)
		},
		cleanup: nftables.Cleanup,
	},
	IPVS: {
		start: func(_ context.Context, config Config, options backend.Options) (backend.Backend, error) {
			return ipvs.New(options, ipvs.Config{Scheduler: config.IPVSScheduler, StrictARP: config.IPVSStrictARP})
		},
		cleanup: ipvs.Cleanup,
	},
	Userspace: {
		start: func(ctx context.Context, config Config, options backend.Options) (backend.Backend, error) {
			return userspace.New(ctx, config.NetNS, options)
		},
		cleanup: userspace.Cleanup,
		relays:  true,
	},
}

// Cleanup removes every trace of every mode from the network namespace at path; empty for the caller's own. What cannot be removed does
// not keep the rest.
func Cleanup(ctx context.Context, path string) error {
	return netns.Do(path, func() error {
		var problems []error
		for _, mode := range Modes() {
			if cleanup := modes[mode].cleanup; cleanup != nil {
				if err := cleanup(ctx); err != nil {
					problems = append(problems, fmt.Errorf("remove what mode %s left: %w", mode, err))
				}
			}
		}
		return errors.Join(problems...)
	})
}
