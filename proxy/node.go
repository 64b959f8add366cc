package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// nodePollInterval is the pause between two looks at a Node that is not there yet.
const nodePollInterval = time.Second

// nodeTimeout is how long a Node may be missing: one that joins registers itself in a few seconds.
const nodeTimeout = 30 * time.Second

// FindNodeIPs returns the Node's own addresses, the primary one first and at most one a family: its InternalIPs or, where it has none,
// its ExternalIPs. It waits for an API server that is away, and nodeTimeout for a Node that is not there or has no address.
func FindNodeIPs(ctx context.Context, client kubernetes.Interface, name string) ([]netip.Addr, error) {
	deadline := time.Now().Add(nodeTimeout)
	said := ""
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			if addresses := nodeIPs(node); len(addresses) > 0 {
				return addresses, nil
			}
			err = fmt.Errorf("node %s has no InternalIP and no ExternalIP", name)
		case !apierrors.IsNotFound(err):
			deadline = time.Now().Add(nodeTimeout) // the time of a server that is away does not count
		}
		if time.Now().After(deadline) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return nil, fmt.Errorf("find the addresses of node %s: %w", name, err)
		}
		if err.Error() != said {
			said = err.Error()
			slog.Warn("waiting for the node", "node", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(nodePollInterval):
		}
	}
}

func nodeIPs(node *corev1.Node) []netip.Addr {
	var found []netip.Addr
	for _, of := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, given := range node.Status.Addresses {
			address, err := netip.ParseAddr(given.Address)
			if given.Type != of || err != nil || len(found) > 0 && familyOf(found[0]) == familyOf(address) {
				continue
			}
			if found = append(found, address); len(found) == 2 {
				return found
			}
		}
	}
	return found
}
