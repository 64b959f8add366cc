package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kubelite/kubelite/nodeagent/images"
	"github.com/kubelite/kubelite/nodeagent/network"
	"github.com/kubelite/kubelite/nodeagent/pods"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// host is the real backend: runc and conmon, the node's network namespace, the image store.
type host struct {
	config  Config
	version string
	images  imageStore
	network *network.Node
	runtime *runtime.Host // nil before Start
}

// openHost fails, with the remedy, when a tool is missing.
func openHost(config Config) (backend, error) {
	var missing []error
	for _, tool := range []struct {
		path *string
		name string
	}{{&config.Runc, "runc"}, {&config.Conmon, "conmon"}} {
		if *tool.path != "" {
			continue
		}
		path, err := exec.LookPath(tool.name)
		if err != nil {
			missing = append(missing, fmt.Errorf("%w; install it: apt-get install %s", err, tool.name))
			continue
		}
		*tool.path = path
	}
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	version, err := runcVersion(config.Runc)
	if err != nil {
		return nil, err
	}
	store, err := images.Open(config.ImagesDir)
	if err != nil {
		return nil, err
	}
	return &host{
		config: config, version: version, images: imageStore{store, images.PullOptions{NetNS: config.PullNetNS}},
		network: network.New(network.Config{StateDir: filepath.Join(config.RootDir, "network"), ClusterCIDRs: config.ClusterCIDRs, Underlay: config.Underlay}),
	}, nil
}

// runcVersion is "runc://1.1.5+ds1" for "runc version 1.1.5+ds1\n…".
func runcVersion(path string) (string, error) {
	output, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	first, _, _ := strings.Cut(string(output), "\n")
	return "runc://" + strings.TrimPrefix(first, "runc version "), nil
}

func (h *host) Version() string     { return h.version }
func (h *host) Images() pods.Images { return h.images }

func (h *host) Start(ctx context.Context, podCIDRs []netip.Prefix) (runtime.Runtime, error) {
	if err := h.network.Setup(podCIDRs...); err != nil {
		return nil, err
	}
	machine, err := runtime.New(runtime.Config{
		RootDir: h.config.RootDir, RunDir: h.config.RunDir, NetNSPrefix: h.config.NetNSPrefix, CgroupParent: h.config.CgroupParent,
		Network: h.network, Runc: h.config.Runc, Conmon: h.config.Conmon,
	})
	if err != nil {
		return nil, err
	}
	h.runtime = machine
	if err := machine.Reclaim(); err != nil {
		return nil, err
	}
	go h.network.Keep(ctx) // ends with ctx
	return machine, nil
}

func (h *host) SetRoutes(routes map[netip.Prefix]netip.Addr) error {
	wanted := make([]network.NodeRoute, 0, len(routes))
	for prefix, via := range routes {
		wanted = append(wanted, network.NodeRoute{PodCIDR: prefix, Via: via})
	}
	return h.network.SetRoutes(wanted)
}

func (h *host) Close() error {
	if h.runtime != nil {
		h.runtime.Close()
	}
	return nil
}
