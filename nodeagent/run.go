package nodeagent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/internal/mirror"
	"github.com/kubelite/kubelite/nodeagent/objects"
	"github.com/kubelite/kubelite/nodeagent/pods"
	"github.com/kubelite/kubelite/nodeagent/prober"
	"github.com/kubelite/kubelite/nodeagent/runtime"
	"github.com/kubelite/kubelite/nodeagent/streaming"
	"github.com/kubelite/kubelite/nodeagent/volumes"
)

// Run is the agent. It returns when ctx is done (nil), or at once when it cannot work at all: a setting is missing, its port is taken, a
// tool is not there. Containers go on running.
func Run(ctx context.Context, config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	backend, err := openHost(config)
	if err != nil {
		return err
	}
	client, err := newClient(config.Rest)
	if err != nil {
		return errors.Join(err, backend.Close())
	}
	return errors.Join(run(ctx, config, client, backend), backend.Close())
}

func newClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.ContentType = apiruntime.ContentTypeProtobuf
	config.AcceptContentTypes = apiruntime.ContentTypeProtobuf + "," + apiruntime.ContentTypeJSON
	config.QPS = -1 // the work is bounded by the Pods; a queue in the client would only add to their start
	config.UserAgent = "kubelite-agent"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return client, nil
}

// agent is a running one.
type agent struct {
	Config
	client   kubernetes.Interface
	backend  backend
	recorder record.EventRecorder
	machine  machine
	node     *node

	nodes     *mirror.Mirror // all of them
	services  *mirror.Mirror
	podCIDRs  chan []netip.Prefix // of one place: as soon as it is known
	routes    chan struct{}       // of one place: nodes have changed
	listener  net.Listener
	clientCAs *x509.CertPool
	failed    chan error
}

func run(ctx context.Context, config Config, client kubernetes.Interface, backend backend) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a, err := prepare(ctx, config, client, backend)
	if err != nil {
		return err
	}
	defer a.listener.Close()
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typed.EventSinkImpl{Interface: client.CoreV1().Events("")})
	a.recorder = broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: config.NodeName})
	a.node = newNode(client, a.recorder, config, a.machine)

	var running sync.WaitGroup
	running.Go(func() { a.node.run(ctx) })
	running.Go(func() { a.node.renewLease(ctx) })
	a.nodes = mirror.New(client, client.CoreV1().Nodes(), &v1.Node{}, mirror.Options{
		Transform: objects.StripManagedFields, Changed: func(object any) { a.nodeChanged(object.(*v1.Node)) },
	})
	a.services = mirror.New(client, client.CoreV1().Services(metav1.NamespaceAll), &v1.Service{}, mirror.Options{Transform: objects.StripManagedFields})
	running.Go(func() { a.nodes.Run(ctx) })
	running.Go(func() { a.services.Run(ctx) })
	running.Go(func() { a.keepRoutes(ctx) })
	running.Go(func() {
		if err := a.runPods(ctx); err != nil {
			a.failed <- err
		}
	})
	select {
	case <-ctx.Done():
	case err = <-a.failed:
		cancel()
	}
	running.Wait()
	return err
}

// prepare does all that can fail at once.
func prepare(ctx context.Context, config Config, client kubernetes.Interface, backend backend) (*agent, error) {
	// Secrets, tokens and what Pods write are not for the machine's other users.
	for _, folder := range []string{config.podDir(), config.logDir(), config.volumeDir()} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("make the agent's folders: %w", err)
		}
	}
	machine, err := inspectMachine(config.RootDir, backend.Version(), config.MaxPods)
	if err != nil {
		return nil, err
	}
	pool, err := clientCAs(config.ClientCAFile)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(config.NodeIPs[0].String(), strconv.Itoa(config.Port)))
	if err != nil {
		return nil, fmt.Errorf("open the agent's port: %w", err)
	}
	return &agent{
		Config: config, client: client, backend: backend, machine: machine, clientCAs: pool, listener: listener,
		podCIDRs: make(chan []netip.Prefix, 1), routes: make(chan struct{}, 1), failed: make(chan error, 2),
	}, nil
}

// nodeChanged takes a node that came, changed or went: this one for its podCIDRs, the others for routes.
func (a *agent) nodeChanged(node *v1.Node) {
	if node.Name == a.NodeName {
		current, exists, err := a.nodes.Objects().Get(node)
		if err != nil || !exists {
			a.node.observe(nil)
		} else {
			a.node.observe(current.(*v1.Node))
			if networks := podCIDRs(current.(*v1.Node)); len(networks) > 0 {
				select {
				case a.podCIDRs <- networks:
				default:
				}
			}
		}
	}
	select {
	case a.routes <- struct{}{}:
	default:
	}
}

// keepRoutes makes the routes to the other nodes' Pods follow the Node objects until ctx is done.
func (a *agent) keepRoutes(ctx context.Context) {
	if !waitFor(ctx, a.nodes) {
		return
	}
	for {
		var again <-chan time.Time
		if err := a.backend.SetRoutes(routesTo(objectsOf[*v1.Node](a.nodes), a.NodeName)); err != nil {
			slog.Error("set routes to other nodes", "error", err)
			again = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.routes:
		case <-again:
		}
	}
}

// waitFor waits for the mirror's first complete list; it is false if ctx is done before.
func waitFor(ctx context.Context, mirror *mirror.Mirror) bool {
	select {
	case <-mirror.Synced():
		return true
	case <-ctx.Done():
		return false
	}
}

// objectsOf are all that a mirror holds.
func objectsOf[T any](mirror *mirror.Mirror) []T {
	list := mirror.Objects().List()
	typed := make([]T, 0, len(list))
	for _, object := range list {
		typed = append(typed, object.(T))
	}
	return typed
}

// startRuntime waits for the node's Pod network and readies it; it tries until it succeeds or ctx is done.
func (a *agent) startRuntime(ctx context.Context) runtime.Runtime {
	var networks []netip.Prefix
	select {
	case <-ctx.Done():
		return nil
	case networks = <-a.podCIDRs:
	}
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		runtime, err := a.backend.Start(ctx, networks)
		if err == nil {
			return runtime
		}
		if ctx.Err() != nil {
			return nil
		}
		slog.Error("ready the node for pods", "error", err, "again", pause)
		a.node.setNotReady("container runtime is not ready: " + err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// runPods runs the Pod loop and the server until ctx is done.
func (a *agent) runPods(ctx context.Context) error {
	certificate, err := serverCertificate(a.Config)
	if err != nil {
		return err
	}
	runtime := a.startRuntime(ctx)
	if runtime == nil || !waitFor(ctx, a.services) {
		return nil
	}
	loop := a.newLoop(ctx, runtime)
	a.node.setNotReady("")
	var running sync.WaitGroup
	running.Go(func() {
		if err := streaming.New(loop, runtime).Serve(ctx, a.listener, certificate, a.clientCAs); err != nil && ctx.Err() == nil {
			a.failed <- err
		}
	})
	err = loop.Run(ctx)
	running.Wait()
	return err
}

func (a *agent) newLoop(ctx context.Context, runtime runtime.Runtime) *pods.Loop {
	var loop *pods.Loop
	references := objects.New(ctx, a.client, func(namespace string) { loop.ObjectChanged(namespace) })
	var servers []string
	for _, server := range a.ClusterDNS {
		servers = append(servers, server.String())
	}
	loop = pods.New(pods.Config{
		Client: a.client, Runtime: runtime, Images: a.backend.Images(), Objects: references, Recorder: a.recorder,
		Volumes:  volumes.New(volumes.Config{Client: a.client, Objects: references, Dir: a.podDir(), RunDir: a.volumeDir()}),
		Prober:   prober.New(execProbe(runtime)),
		Services: func() []*v1.Service { return objectsOf[*v1.Service](a.services) },
		NodeName: a.NodeName, NodeIPs: a.nodeIPs(), PodDir: a.podDir(), LogDir: a.logDir(),
		DNS:         pods.DNS{Servers: servers, Domain: a.ClusterDomain, HostConfig: a.ResolvConf},
		Allocatable: a.machine.capacity, MemoryCapacity: a.machine.capacity.Memory().Value(),
	})
	return loop
}

// execProbe runs a probe's command and keeps the start of what it prints.
func execProbe(host runtime.Runtime) prober.Exec {
	return func(ctx context.Context, id string, command []string) ([]byte, int, error) {
		var output runtime.Output
		code, err := host.Exec(ctx, id, command, runtime.Streams{Stdout: &output, Stderr: &output})
		return output.Bytes(), code, err
	}
}
