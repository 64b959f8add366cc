package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kubelite/kubelite/apiserver/auth"
	"github.com/kubelite/kubelite/apiserver/openapi"
	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/pki"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// shutdownTimeout is how long requests that are under way may take to end after the server was told to.
const shutdownTimeout = 3 * time.Second

// Address is where the server listens.
type Address struct {
	// Netns is the path of a network namespace; empty: the caller's own.
	Netns string
	// Address is HOST:PORT, HOST numeric.
	Address string
}

// Config is all that the server needs to know.
type Config struct {
	// DataDir is the folder of the store (kubelite.db). It is made, 0700, if it is not there.
	DataDir string
	// Authority is the cluster's. nil: the one in DataDir/pki, which is made if it is not there.
	Authority *pki.Authority
	// Listen are the addresses to open; Listeners are already open, and become the server's.
	Listen    []Address
	Listeners []net.Listener

	// ServiceCIDRs are the ranges of ClusterIPs: one, or one of each IP family, of which the first is the default. None: 10.96.0.0/12.
	ServiceCIDRs []netip.Prefix
	// NodePortFirst and NodePortLast bound the node ports; zero: 30000 and 32767.
	NodePortFirst, NodePortLast int
	// ClusterDomain is the DNS domain; empty: cluster.local.
	ClusterDomain string
	// AdvertiseAddress and AdvertisePort are the endpoint of the Service "kubernetes"; zero: 192.168.1.1 and 6443.
	AdvertiseAddress netip.Addr
	AdvertisePort    int
	// AgentNetns is the path of the network namespace that agents are reached from; empty: the caller's own.
	AgentNetns string
	// Seed, if not 0, makes generated names, ClusterIPs and node ports the same for the same requests in the same order.
	Seed uint64
}

func (c Config) withDefaults() Config {
	if len(c.ServiceCIDRs) == 0 {
		c.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}
	}
	if c.NodePortFirst == 0 {
		c.NodePortFirst, c.NodePortLast = 30000, 32767
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if !c.AdvertiseAddress.IsValid() {
		c.AdvertiseAddress = netip.MustParseAddr("192.168.1.1")
	}
	if c.AdvertisePort == 0 {
		c.AdvertisePort = 6443
	}
	return c
}

// Server is the API server. Make it with New; all methods may be called concurrently.
type Server struct {
	config        Config
	authority     *pki.Authority
	store         *store.Store
	resources     []*resource
	discovered    *discovered
	documents     *openapi.Documents
	fieldManagers *fieldManagers
	tokens        *auth.Tokens
	authenticator *auth.Authenticator
	agents        *http.Client
	random        *random
	handler       http.Handler
	listeners     []net.Listener

	ready    chan struct{}
	stopping chan struct{} // closed when watches and streams shall end
	stopOnce sync.Once
}

// Run serves until ctx is done, and returns nil then.
func Run(ctx context.Context, config Config) error {
	server, err := New(config)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// New opens the store and the listeners, loads all objects and makes what every cluster has. The server must be Run, or
// Closed.
func New(config Config) (server *Server, err error) {
	config = config.withDefaults()
	s := &Server{
		config:        config,
		authority:     config.Authority,
		fieldManagers: newFieldManagers(),
		random:        newRandom(config.Seed),
		listeners:     config.Listeners,
		ready:         make(chan struct{}),
		stopping:      make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if s.authority == nil {
		if s.authority, err = pki.LoadOrCreate(filepath.Join(config.DataDir, "pki")); err != nil {
			return nil, err
		}
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, s.bootstrap()
}

// open loads the store and puts the parts together.
func (s *Server) open() error {
	s.tokens = auth.NewTokens(s.authority.ServiceAccountKey, s.issuer())
	s.authenticator = &auth.Authenticator{Tokens: s.tokens, Getter: s}
	agents, err := newAgentClient(s.authority, s.config.AgentNetns)
	if err != nil {
		return err
	}
	s.agents = agents
	kinds := registry.Kinds(registry.Config{
		ServiceCIDRs:  s.config.ServiceCIDRs,
		NodePortFirst: s.config.NodePortFirst,
		NodePortLast:  s.config.NodePortLast,
		IntN:          s.random.IntN,
		Get:           s.stored,
		List:          s.storedAll,
	})
	volatile := map[schema.GroupResource]bool{}
	for _, kind := range kinds {
		s.resources = append(s.resources, newResource(kind))
		volatile[kind.GroupResource()] = kind.Volatile
	}
	s.store, err = store.Open(filepath.Join(s.config.DataDir, "kubelite.db"), store.Options{
		Codec:    store.NewCodec(registry.Scheme),
		Volatile: func(resource schema.GroupResource) bool { return volatile[resource] },
	})
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		if kind.Loaded == nil || kind.StoredAs != nil {
			continue
		}
		for item := range s.store.List(kind.GroupResource(), "").All() {
			kind.Loaded(item.Object)
		}
	}
	s.discovered = discover(s.resources)
	s.documents = newDocuments(s.resources)
	s.handler = s.routes()
	return nil
}

// stored is an object for the kinds' own look-ups.
func (s *Server) stored(resource schema.GroupResource, namespace, name string) registry.Object {
	item, err := s.store.Get(store.Key{Resource: resource, Namespace: namespace, Name: name})
	if err != nil {
		return nil
	}
	return item.Object
}

// storedAll are all objects of a resource, for the kinds' own look-ups.
func (s *Server) storedAll(resource schema.GroupResource) []registry.Object {
	var all []registry.Object
	for item := range s.store.List(resource, "").All() {
		all = append(all, item.Object)
	}
	return all
}

// issuer is the issuer and the audience of service-account tokens.
func (s *Server) issuer() string { return "https://kubernetes.default.svc." + s.config.ClusterDomain }

// listen opens the configured addresses.
func (s *Server) listen() error {
	for _, address := range s.config.Listen {
		listener, err := netns.Listen(address.Netns, "tcp", address.Address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen on %s: the port is taken by another process (another cluster?): find it with `ss -tlnp`, "+
				"and stop it or choose another port: %w", address.Address, err)
		}
		if err != nil {
			return fmt.Errorf("listen on %s: %w", address.Address, err)
		}
		s.listeners = append(s.listeners, listener)
	}
	return nil
}

// Handler is the server without TLS: requests through it are anonymous unless their TLS field says otherwise.
func (s *Server) Handler() http.Handler { return s.handler }

// Ready is closed when Run serves.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Authority is the cluster's certificate authority.
func (s *Server) Authority() *pki.Authority { return s.authority }

// Addresses are where the server listens, given listeners first.
func (s *Server) Addresses() []net.Addr {
	addresses := make([]net.Addr, len(s.listeners))
	for i, listener := range s.listeners {
		addresses[i] = listener.Addr()
	}
	return addresses
}

// Run serves until ctx is done, then ends watches and streams, lets requests finish and closes the store.
func (s *Server) Run(ctx context.Context) error {
	tlsConfig, err := s.tlsConfig()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(s.listeners))
	for _, listener := range s.listeners {
		slog.Info("API server listens", "address", listener.Addr().String())
		go func() { failed <- server.ServeTLS(listener, "", "") }() // ends with Shutdown
	}
	close(s.ready)
	// They need a context of their own: the store is closed after ctx is done, and only when they have ended.
	var chores sync.WaitGroup // end with stop
	chores.Go(func() { s.expire(context.WithoutCancel(ctx)) })
	chores.Go(func() { s.keepOwnObjects(context.WithoutCancel(ctx)) })
	chores.Go(func() { s.keepServiceAddresses(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	s.stop()
	chores.Wait()
	// ctx is done already: the grace for requests under way needs a context of its own.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if late := server.Shutdown(grace); late != nil {
		slog.Warn("requests were cut off", "error", late)
		err = errors.Join(err, server.Close())
	}
	return errors.Join(err, s.Close())
}

func (s *Server) stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

// Close ends what New has opened. Run calls it itself.
func (s *Server) Close() error {
	s.stop()
	var errs []error
	for _, listener := range s.listeners {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.agents != nil {
		s.agents.CloseIdleConnections()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// tlsConfig has a certificate for all the server's names and addresses, and verifies clients' if they have one.
func (s *Server) tlsConfig() (*tls.Config, error) {
	kubernetes := "kubernetes.default.svc"
	names := []string{"localhost", "kubernetes", "kubernetes.default", kubernetes, kubernetes + "." + s.config.ClusterDomain}
	addresses := []netip.Addr{s.serviceAddress(), s.config.AdvertiseAddress, netip.MustParseAddr("127.0.0.1")}
	for _, listener := range s.listeners {
		if address, err := netip.ParseAddrPort(listener.Addr().String()); err == nil {
			addresses = append(addresses, address.Addr().Unmap())
		}
	}
	pair, err := s.authority.IssueServer("kube-apiserver", names, addresses)
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    s.authority.Pool(),
		ClientAuth:   tls.VerifyClientCertIfGiven,
		MinVersion:   tls.VersionTLS12,
	}, nil
}

// serviceAddress is the ClusterIP of the Service "kubernetes": the first of the range.
func (s *Server) serviceAddress() netip.Addr { return s.config.ServiceCIDRs[0].Masked().Addr().Next() }

// random is a source of numbers, the same ones for the same seed. It may be used concurrently.
type random struct {
	mu     sync.Mutex
	source *rand.Rand // nil: unpredictable
}

func newRandom(seed uint64) *random {
	if seed == 0 {
		return &random{}
	}
	return &random{source: rand.New(rand.NewPCG(seed, seed))}
}

// IntN returns a number in [0,n).
func (r *random) IntN(n int) int {
	if r.source == nil {
		return rand.IntN(n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.IntN(n)
}
