package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/proxy"
	"github.com/kubelite/kubelite/proxy/ipvs"
)

const (
	// StateRoot holds the durable state of all clusters, and their images.
	StateRoot = "/var/lib/kubelite"
	// RunRoot holds what does not survive a reboot.
	RunRoot = "/run/kubelite"
	// DefaultName is the cluster's name if none is given.
	DefaultName = "kubelite"
)

// ErrNotFound is returned by Load when there is no such cluster.
var ErrNotFound = errors.New("there is no such cluster")

// Config is everything that was asked for when the cluster was made. It is kept as cluster.json.
type Config struct {
	Network lab.Network `json:"network"`
	// Uplink is "auto" (connected unless the machine's routes overlap the underlay) or "off".
	Uplink        string `json:"uplink"`
	APIPort       int    `json:"apiPort"` // on 127.0.0.1
	ClusterDomain string `json:"clusterDomain"`
	// DNSUpstream is the resolver that cluster DNS asks for other names, host:port; empty: none.
	DNSUpstream string `json:"dnsUpstream,omitempty"`
	// ProxyMode is how the nodes' Service proxies program their kernel, and IPVSScheduler how mode ipvs spreads connections.
	ProxyMode     proxy.Mode `json:"proxyMode"`
	IPVSScheduler string     `json:"ipvsScheduler"`
	// LoadBalancer is where the addresses of Services of type LoadBalancer come from: "pool" (an address of its own for each) or
	// "node" (the nodes' own addresses).
	LoadBalancer string `json:"loadBalancer"`
	// Seed makes names and addresses reproducible; 0: they are random.
	Seed uint64 `json:"seed,omitempty"`
}

// DefaultConfig is what `kubelite up` makes when nothing else is asked for.
func DefaultConfig(network lab.Network) Config {
	return Config{
		Network:       network,
		Uplink:        "auto",
		ClusterDomain: "cluster.local",
		ProxyMode:     proxy.IPTables,
		IPVSScheduler: "rr",
		LoadBalancer:  "pool",
	}
}

// Validate returns everything that is wrong with the settings, flag by flag.
func (c Config) Validate() error {
	failures := []error{c.Network.Validate()}
	if c.Uplink != "auto" && c.Uplink != "off" {
		failures = append(failures, fmt.Errorf("--uplink %q: use auto or off", c.Uplink))
	}
	if c.APIPort < 0 || c.APIPort > 65535 {
		failures = append(failures, fmt.Errorf("--api-port %d: use a port from 1 to 65535", c.APIPort))
	}
	if modes := proxy.Modes(); !slices.Contains(modes, c.ProxyMode) {
		failures = append(failures, fmt.Errorf("--proxy-mode %q: use one of %v", c.ProxyMode, modes))
	}
	if schedulers := ipvs.Schedulers(); !slices.Contains(schedulers, c.IPVSScheduler) {
		failures = append(failures, fmt.Errorf("--ipvs-scheduler %q: use one of %v", c.IPVSScheduler, schedulers))
	}
	if c.LoadBalancer != "pool" && c.LoadBalancer != "node" {
		failures = append(failures, fmt.Errorf("--load-balancer %q: use pool or node", c.LoadBalancer))
	}
	for _, problem := range validation.IsDNS1123Subdomain(c.ClusterDomain) {
		failures = append(failures, fmt.Errorf("--cluster-domain %q: %s", c.ClusterDomain, problem))
	}
	if !isResolver(c.DNSUpstream) {
		failures = append(failures, fmt.Errorf("--dns-upstream %q: write HOST:PORT, as in 192.168.1.254:53", c.DNSUpstream))
	}
	return errors.Join(failures...)
}

// isResolver says whether the text can be the address of a DNS server: an IP address, HOST:PORT, or nothing.
func isResolver(text string) bool {
	if _, err := netip.ParseAddr(text); text == "" || err == nil {
		return true
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	_, notAddress := netip.ParseAddr(host)
	return err == nil && number > 0 && (notAddress == nil || len(validation.IsDNS1123Subdomain(host)) == 0)
}

// Cluster is one cluster's place on this machine.
type Cluster struct{ Config }

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.Network.Cluster }

// Dir is a path in the cluster's durable state.
func (c *Cluster) Dir(elements ...string) string { return dir(c.Name(), elements...) }

// RunDir is a path in the cluster's volatile state.
func (c *Cluster) RunDir(elements ...string) string {
	return filepath.Join(append([]string{RunRoot, c.Name()}, elements...)...)
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.Dir("kubeconfig") }

// CgroupParent is the cluster's control group, below which each node has its own.
func (c *Cluster) CgroupParent() string { return filepath.Join("/kubelite", c.Name()) }

// ImagesDir is the image store, shared by all clusters.
func ImagesDir() string { return filepath.Join(StateRoot, "images") }

func dir(name string, elements ...string) string {
	return filepath.Join(append([]string{StateRoot, name}, elements...)...)
}

// Load reads a cluster's configuration. ErrNotFound if it has none.
func Load(name string) (*Cluster, error) {
	if err := lab.CheckName(name); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(dir(name, "cluster.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cluster %q: %w on this machine: make it with `kubelite up --name %s`", name, ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster %q: %w", name, err)
	}
	return parse(name, data)
}

// parse reads what save wrote.
func parse(name string, data []byte) (*Cluster, error) {
	c := &Cluster{DefaultConfig(lab.Network{})} // an older kubelite wrote less
	err := json.Unmarshal(data, &c.Config)
	if err == nil && c.Name() != name {
		err = fmt.Errorf("it calls the cluster %q", c.Name())
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster %q: %s is damaged: %w: restore it, or remove the cluster with `kubelite down --purge --name %s`", name, dir(name, "cluster.json"), err, name)
	}
	return c, nil
}

// encode is what parse reads.
func (c *Cluster) encode() ([]byte, error) { return json.MarshalIndent(c.Config, "", "  ") }

// save writes the configuration durably.
func (c *Cluster) save() error {
	data, err := c.encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir(), 0o755); err != nil {
		return fmt.Errorf("save cluster %q: %w", c.Name(), err)
	}
	if err := writeFile(c.Dir("cluster.json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save cluster %q: %w", c.Name(), err)
	}
	return nil
}

// Names lists the clusters of this machine.
func Names() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(StateRoot, "*", "cluster.json"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	slices.Sort(names)
	return names, nil
}

// lock excludes other ups and downs of the cluster until the returned function is called. It makes the state directory.
func lock(name string) (unlock func(), err error) {
	busy := fmt.Errorf("another `kubelite up` or `kubelite down` of cluster %q is at work: wait for it to end", name)
	if err := os.MkdirAll(dir(name), 0o755); err != nil {
		return nil, err
	}
	file, err := os.Open(dir(name))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, busy
	}
	locked, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	if current, err := os.Stat(dir(name)); err != nil || !os.SameFile(locked, current) {
		file.Close() // purged between the opening and the locking
		return nil, busy
	}
	return func() { file.Close() }, nil
}

// lockDirectory excludes others from what the directory's lock guards, waiting for them, until the returned function is called.
func lockDirectory(path string) (unlock func(), err error) {
	directory, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(directory.Fd()), unix.LOCK_EX); err != nil {
		directory.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { directory.Close() }, nil
}

// writeFile replaces the file at path by one with the data, durably and in one step.
func writeFile(path string, data []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone already if all went well
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
