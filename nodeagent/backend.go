package nodeagent

import (
	"context"
	"net/netip"

	"github.com/kubelite/kubelite/nodeagent/pods"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// backend is the machine under the agent; tests have one without a kernel.
type backend interface {
	// Version is the container runtime's, as runc://1.1.5.
	Version() string
	Images() pods.Images
	// Start readies the node's network for its Pods, which get addresses of podCIDRs, and opens the runtime, which goes on until Close.
	Start(ctx context.Context, podCIDRs []netip.Prefix) (runtime.Runtime, error)
	// SetRoutes makes the routes to other nodes' Pods exactly these.
	SetRoutes(routes map[netip.Prefix]netip.Addr) error
	Close() error
}
