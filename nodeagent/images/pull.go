package images

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kubelite/kubelite/internal/netns"
)

// PullOptions say how a registry is reached.
type PullOptions struct {
	// NetNS is the path of the network namespace to connect from; empty: the caller's. A node of the lab has no way out, so
	// its agent pulls over the machine's own network.
	NetNS string
	// Keychain has the credentials of private registries; nil: all are asked anonymously.
	Keychain authn.Keychain
}

// Pull fetches an image from its registry and adds it under its name. Registries on a loopback or private address are
// spoken to without TLS where they have none, as Docker does. The error says which registry, and why.
func (s *Store) Pull(ctx context.Context, reference string, options PullOptions) (*Image, error) {
	parsed, err := parse(reference)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = dialer(options.NetNS)
	defer transport.CloseIdleConnections()
	keychain := options.Keychain
	if keychain == nil {
		keychain = authn.NewMultiKeychain() // of none
	}
	image, err := remote.Image(parsed, remote.WithAuthFromKeychain(keychain), remote.WithContext(ctx), remote.WithTransport(transport),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return nil, fmt.Errorf("failed to pull and unpack image %q: registry %s: %w", spell(parsed.Name()), parsed.Context().RegistryStr(), err)
	}
	return s.Add(ctx, image, reference)
}

// dialer connects from the namespace at path, and looks names up there too.
func dialer(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := netns.Dialer(path)
	resolver := net.Resolver{PreferGo: true, Dial: dial}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		addresses := []netip.Addr{}
		if literal, err := netip.ParseAddr(host); err == nil {
			addresses = append(addresses, literal)
		} else if addresses, err = resolver.LookupNetIP(ctx, "ip", host); err != nil {
			return nil, err
		}
		var failures []error
		for _, candidate := range addresses {
			conn, err := dial(ctx, network, net.JoinHostPort(candidate.Unmap().String(), port))
			if err == nil {
				return conn, nil
			}
			failures = append(failures, err)
		}
		return nil, errors.Join(failures...)
	}
}
