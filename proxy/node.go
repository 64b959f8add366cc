package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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

// nodeRequestTimeout is how long an answer may take: a server that says nothing is to be complained of, too.
const nodeRequestTimeout = 10 * time.Second

// complaintInterval is the pause between two complaints of the same trouble.
const complaintInterval = 10 * time.Second

// FindNodeIPs returns the Node's own addresses, the primary one first and at most one a family: its InternalIPs or, where it has none,
// its ExternalIPs. It waits nodeTimeout for a Node that is not there or has no address, and for ever, as kube-proxy does, for an API
// server that is away or refuses: the log says every complaintInterval what it waits for and what could be done.
func FindNodeIPs(ctx context.Context, client kubernetes.Interface, name string) ([]netip.Addr, error) {
	deadline := time.Now().Add(nodeTimeout)
	var said string
	var saidAt time.Time
	for {
		node, err := getNode(ctx, client, name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch {
		case err == nil:
			if addresses := nodeIPs(node); len(addresses) > 0 {
				return addresses, nil
			}
			err = fmt.Errorf("node %s has no InternalIP and no ExternalIP", name)
		case !apierrors.IsNotFound(err):
			deadline = time.Now().Add(nodeTimeout) // the time of a server that is away does not count
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("find the addresses of node %s: %w", name, err)
		}
		if err.Error() != said || time.Since(saidAt) >= complaintInterval {
			said, saidAt = err.Error(), time.Now()
			complain(name, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(nodePollInterval):
		}
	}
}

func getNode(ctx context.Context, client kubernetes.Interface, name string) (*corev1.Node, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, nodeRequestTimeout, fmt.Errorf("the API server says nothing for %v", nodeRequestTimeout))
	defer cancel()
	node, err := client.CoreV1().Nodes().Get(bounded, name, metav1.GetOptions{})
	return node, withCause(bounded, err)
}

func complain(node string, err error) {
	if remedy := remedyFor(err); remedy != "" {
		slog.Error("this does not heal by itself; still asking the API server for the node's addresses", "node", node, "error", err, "remedy", remedy)
		return
	}
	slog.Warn("waiting for the API server to tell the node's addresses", "node", node, "error", err)
}

// remedyFor says what to do about an error that no waiting heals; empty for others.
func remedyFor(err error) string {
	var verification *tls.CertificateVerificationError
	var ofName x509.HostnameError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &ofName):
		return "reach the API server by a name or address that its certificate is valid for, or set tls-server-name beside the server in the kubeconfig"
	case errors.As(err, &authority):
		return "put the certificate authority of this API server's cluster into the kubeconfig: certificate-authority-data"
	case errors.As(err, &verification):
		return "see whether the API server's certificate has expired and whether this machine's clock is right"
	case apierrors.IsUnauthorized(err):
		return "the API server does not know the kubeconfig's account: its token or client certificate has expired or is another cluster's"
	case apierrors.IsForbidden(err):
		return "let the kubeconfig's account read Nodes, Services and EndpointSlices: bind it to the ClusterRole system:node-proxier"
	}
	return ""
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
