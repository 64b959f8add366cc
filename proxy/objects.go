package proxy

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/proxy/health"
	"github.com/kubelite/kubelite/proxy/plan"
)

// objects are the API's current ones, as far as plans depend on them. They remember which Services changed. Its methods may be
// called concurrently.
type objects struct {
	// changing is called with every change and how many objects it is of, before anybody is woken.
	changing func(of changed, count int)
	// started is when the proxy did: what happened before is not what it took so long for.
	started time.Time

	mutex    sync.Mutex
	services map[types.NamespacedName]*plan.ServiceInput
	slices   map[types.NamespacedName][]*plan.SliceInput   // by Service
	owners   map[types.NamespacedName]types.NamespacedName // a slice's Service
	node     plan.Node
	pending  changes
	// wake holds one token while pending has something that nobody has come for yet.
	wake chan struct{}
}

// changed is what a change was of.
type changed int

const (
	serviceChanged changed = iota
	sliceChanged
	nodeChanged
)

// changes are what happened since somebody last came for them.
type changes struct {
	// names are the Services that must be planned again; with all, every one must.
	names map[types.NamespacedName]struct{}
	all   bool
	// triggered are the times of what the slices' controller said it was told.
	triggered []time.Time
	// services and slices count what kube-proxy's change trackers count: each Service and each slice that the API server told of.
	services, slices int
}

func newObjects(node plan.Node, changing func(changed, int)) *objects {
	return &objects{
		changing: changing,
		started:  time.Now(),
		services: map[types.NamespacedName]*plan.ServiceInput{},
		slices:   map[types.NamespacedName][]*plan.SliceInput{},
		owners:   map[types.NamespacedName]types.NamespacedName{},
		node:     node,
		pending:  changes{names: map[types.NamespacedName]struct{}{}},
		wake:     make(chan struct{}, 1),
	}
}

// take returns what changed since the last call.
func (o *objects) take() changes {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	taken := o.pending
	o.pending = changes{names: map[types.NamespacedName]struct{}{}}
	return taken
}

// ports plans one Service as it is now; empty when it is gone.
func (o *objects) ports(name types.NamespacedName) []plan.Port {
	o.mutex.Lock()
	service, endpointSlices, node := o.services[name], o.slices[name], o.node
	o.mutex.Unlock()
	if service == nil {
		return nil
	}
	return plan.Ports(service, endpointSlices, node)
}

// health is what load balancers ask of the Service in the family; nil for one that nobody asks for.
func (o *objects) health(name types.NamespacedName, family corev1.IPFamily) *health.Service {
	o.mutex.Lock()
	service, endpointSlices, node := o.services[name], o.slices[name], o.node
	o.mutex.Unlock()
	if service == nil || service.HealthCheckNodePort == 0 || !service.Has(family) {
		return nil
	}
	return &health.Service{Port: service.HealthCheckNodePort, LocalEndpoints: plan.LocalReady(endpointSlices, family, node)}
}

// names are those of all Services.
func (o *objects) names() []types.NamespacedName {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	names := make([]types.NamespacedName, 0, len(o.services))
	for name := range o.services {
		names = append(names, name)
	}
	return names
}

// change runs f, which changes the objects and returns how many it told of, and then tells of the change.
func (o *objects) change(of changed, f func() int) {
	o.mutex.Lock()
	count := f()
	switch of {
	case serviceChanged:
		o.pending.services += count
	case sliceChanged:
		o.pending.slices += count
	case nodeChanged:
		o.pending.all = true
	}
	o.mutex.Unlock()
	o.changing(of, count)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *objects) setService(service *plan.ServiceInput) {
	o.change(serviceChanged, func() int {
		o.services[service.Name] = service
		o.pending.names[service.Name] = struct{}{}
		return 1
	})
}

func (o *objects) removeService(name types.NamespacedName) {
	o.change(serviceChanged, func() int {
		delete(o.services, name)
		o.pending.names[name] = struct{}{}
		return 1
	})
}

// replaceServices makes the Services be these and no others. Any of them may have changed while nobody watched.
func (o *objects) replaceServices(services []*plan.ServiceInput) {
	o.change(serviceChanged, func() int {
		before := o.services
		o.services = make(map[types.NamespacedName]*plan.ServiceInput, len(services))
		for _, service := range services {
			o.services[service.Name] = service
		}
		o.pending.all = true
		return len(o.services) + missing(before, o.services)
	})
}

func (o *objects) setSlice(slice *plan.SliceInput) {
	o.change(sliceChanged, func() int {
		o.dropSlice(slice.Name)
		o.putSlice(slice)
		if slice.Triggered.After(o.started) {
			o.pending.triggered = append(o.pending.triggered, slice.Triggered)
		}
		if slice.Service.Name == "" {
			return 0 // it is nobody's
		}
		return 1
	})
}

func (o *objects) removeSlice(name types.NamespacedName) {
	o.change(sliceChanged, func() int {
		before := len(o.owners)
		o.dropSlice(name)
		return before - len(o.owners)
	})
}

// replaceSlices makes the slices be these and no others.
func (o *objects) replaceSlices(slices []*plan.SliceInput) {
	o.change(sliceChanged, func() int {
		before := o.owners
		o.slices = make(map[types.NamespacedName][]*plan.SliceInput, len(slices))
		o.owners = make(map[types.NamespacedName]types.NamespacedName, len(slices))
		for _, slice := range slices {
			o.putSlice(slice)
		}
		clear(o.pending.names) // all is more
		o.pending.all = true
		return len(o.owners) + missing(before, o.owners)
	})
}

// missing counts the keys that are there no longer.
func missing[V any](before, now map[types.NamespacedName]V) int {
	count := 0
	for name := range before {
		if _, exists := now[name]; !exists {
			count++
		}
	}
	return count
}

// putSlice adds a slice that is not there. Lists of slices are never changed: somebody may be planning with them.
func (o *objects) putSlice(slice *plan.SliceInput) {
	if slice.Service.Name == "" {
		return
	}
	current := o.slices[slice.Service]
	o.slices[slice.Service] = append(current[:len(current):len(current)], slice)
	o.owners[slice.Name] = slice.Service
	o.pending.names[slice.Service] = struct{}{}
}

// dropSlice removes the slice, if it is there.
func (o *objects) dropSlice(name types.NamespacedName) {
	service, exists := o.owners[name]
	if !exists {
		return
	}
	delete(o.owners, name)
	o.pending.names[service] = struct{}{}
	current := o.slices[service]
	if len(current) == 1 {
		delete(o.slices, service)
		return
	}
	rest := make([]*plan.SliceInput, 0, len(current))
	for _, slice := range current {
		if slice.Name != name {
			rest = append(rest, slice)
		}
	}
	o.slices[service] = rest
}

// setZone says in which zone the node is.
func (o *objects) setZone(zone string) {
	o.mutex.Lock()
	same := o.node.Zone == zone
	o.mutex.Unlock()
	if !same {
		o.change(nodeChanged, func() int {
			o.node.Zone = zone
			return 1
		})
	}
}
