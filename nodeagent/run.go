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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

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

	nodes     informers.SharedInformerFactory // and Services
	podCIDR   chan netip.Prefix               // of one place: as soon as it is known
	routes    chan struct{}                   // of one place: nodes have changed
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
	if err := a.watchNodes(); err != nil {
		return err
	}
	services := a.nodes.Core().V1().Services()
	services.Informer()
	a.nodes.StartWithContext(ctx)
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
	a.nodes.Shutdown()
	return err
}

// prepare does all that can fail at once.
func prepare(ctx context.Context, config Config, client kubernetes.Interface, backend backend) (*agent, error) {
	for _, folder := range []string{config.podDir(), config.logDir(), config.volumeDir()} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
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
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(config.NodeIP.String(), strconv.Itoa(config.Port)))
	if err != nil {
		return nil, fmt.Errorf("open the agent's port: %w", err)
	}
	return &agent{
		Config: config, client: client, backend: backend, machine: machine, clientCAs: pool, listener: listener,
		nodes:   informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(stripManagedFields)),
		podCIDR: make(chan netip.Prefix, 1), routes: make(chan struct{}, 1), failed: make(chan error, 2),
	}, nil
}

// stripManagedFields keeps what the agent never reads out of its memory.
func stripManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// watchNodes follows all nodes: this one for its podCIDR, the others for routes.
func (a *agent) watchNodes() error {
	changed := func(object any) {
		if object, ok := object.(*v1.Node); ok && object.Name == a.NodeName {
			a.node.observe(object)
			if network, known := podCIDR(object); known {
				select {
				case a.podCIDR <- network:
				default:
				}
			}
		}
		select {
		case a.routes <- struct{}{}:
		default:
		}
	}
	_, err := a.nodes.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, object any) { changed(object) },
		DeleteFunc: func(object any) {
			if object, ok := object.(*v1.Node); ok && object.Name == a.NodeName {
				a.node.observe(nil)
			}
			changed(nil)
		},
	})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	return nil
}

// keepRoutes makes the routes to the other nodes' Pods follow the Node objects until ctx is done.
func (a *agent) keepRoutes(ctx context.Context) {
	nodes := a.nodes.Core().V1().Nodes()
	if !cache.WaitFor(ctx, "", nodes.Informer().HasSyncedChecker()) {
		return
	}
	for {
		var again <-chan time.Time
		all, err := nodes.Lister().List(labels.Everything())
		if err == nil {
			err = a.backend.SetRoutes(routesTo(all, a.NodeName))
		}
		if err != nil {
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

// startRuntime waits for the node's Pod network and readies it; it tries until it succeeds or ctx is done.
func (a *agent) startRuntime(ctx context.Context) runtime.Runtime {
	var network netip.Prefix
	select {
	case <-ctx.Done():
		return nil
	case network = <-a.podCIDR:
	}
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		runtime, err := a.backend.Start(ctx, network)
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
	services := a.nodes.Core().V1().Services()
	if runtime == nil || !cache.WaitFor(ctx, "", services.Informer().HasSyncedChecker()) {
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
	own := informers.NewSharedInformerFactoryWithOptions(a.client, 0, informers.WithTransform(stripManagedFields),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", a.NodeName).String()
		}))
	informer := own.Core().V1().Pods().Informer()
	own.StartWithContext(ctx)
	err = loop.Run(ctx, informer)
	running.Wait()
	own.Shutdown()
	return err
}

func (a *agent) newLoop(ctx context.Context, runtime runtime.Runtime) *pods.Loop {
	var loop *pods.Loop
	references := objects.New(ctx, a.client, func(namespace string) { loop.ObjectChanged(namespace) })
	services := a.nodes.Core().V1().Services().Lister()
	var servers []string
	for _, server := range a.ClusterDNS {
		servers = append(servers, server.String())
	}
	loop = pods.New(pods.Config{
		Client: a.client, Runtime: runtime, Images: a.backend.Images(), Objects: references, Recorder: a.recorder,
		Volumes:  volumes.New(volumes.Config{Client: a.client, Objects: references, Dir: a.podDir(), RunDir: a.volumeDir()}),
		Prober:   prober.New(execProbe(runtime)),
		Services: func() []*v1.Service { all, _ := services.List(labels.Everything()); return all }, // a cache's List has no errors
		NodeName: a.NodeName, NodeIP: a.NodeIP.String(), PodDir: a.podDir(), LogDir: a.logDir(),
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
