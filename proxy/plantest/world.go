package plantest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/proxy/plan"
)

// Node is the name of the Node whose plan a World is, in zone Zone; "node-2" and "node-3" in "zone-b" have endpoints, too.
const (
	Node = "node-1"
	Zone = "zone-a"
)

// Options say what a World is like.
type Options struct {
	// Family is the family of all addresses in the plans; empty for IPv4. Services of the other family exist beside.
	Family corev1.IPFamily
	// Services is about how many there are, at the beginning and always; 0 for 10.
	Services int
	// Protocols are those of Service ports; empty for TCP, UDP and SCTP.
	Protocols []corev1.Protocol
	// Node is what the plan is made for; without a Name it is Node in Zone.
	Node plan.Node
}

// World is a cluster's Services and their EndpointSlices, which change at random. It is used by one goroutine.
type World struct {
	options Options
	random  *rand.Rand
	objects map[types.NamespacedName]object
	// owners are the Services that have what is unique in a cluster.
	owners map[claim]types.NamespacedName
	// freed is what lately had an owner, so that the next owner comes soon, maybe in the same change.
	freed []claim
	plan  plan.Plan
}

// object is a Service with its slices. It is never changed, only replaced.
type object struct {
	service *corev1.Service
	slices  []*discoveryv1.EndpointSlice
}

// New makes a World. Its seed decides everything that it is and becomes.
func New(seed uint64, options Options) *World {
	if options.Family == "" {
		options.Family = corev1.IPv4Protocol
	}
	if options.Services == 0 {
		options.Services = 10
	}
	if len(options.Protocols) == 0 {
		options.Protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	}
	if options.Node.Name == "" {
		options.Node = plan.Node{Name: Node, Zone: Zone}
	}
	w := &World{
		options: options,
		random:  rand.New(rand.NewPCG(seed, 0)),
		objects: map[types.NamespacedName]object{},
		owners:  map[claim]types.NamespacedName{},
		plan:    plan.Plan{},
	}
	for range options.Services {
		w.apply(w.add())
	}
	return w
}

// Plan is the plan of all Services as they are now. The caller may keep it.
func (w *World) Plan() plan.Plan { return maps.Clone(w.plan) }

// Objects are all Services and EndpointSlices as they are now, sorted by name. They are never changed.
func (w *World) Objects() (services []*corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) {
	for _, name := range w.names() {
		services = append(services, w.objects[name].service)
		endpointSlices = append(endpointSlices, w.objects[name].slices...)
	}
	return services, endpointSlices
}

// Change changes one to five things, and returns the new ports of all Services that were touched, none for one that needs
// no rules any more: what Backend.Update is given. It is never empty.
func (w *World) Change() plan.Plan {
	changed := plan.Plan{}
	for len(changed) == 0 {
		for range 1 + w.random.IntN(5) {
			for name := range w.apply(w.next()) {
				changed[name] = nil
			}
		}
	}
	for name := range changed {
		changed[name] = w.plan[name]
	}
	return changed
}

// next chooses what happens: new objects for the names of one or two Services, no object for one that goes.
func (w *World) next() map[types.NamespacedName]object {
	names := w.names()
	if len(names) == 0 {
		return w.add()
	}
	name := names[w.random.IntN(len(names))]
	other := names[w.random.IntN(len(names))]
	switch chance := w.random.IntN(100); {
	case chance < 12 && len(names) < 2*w.options.Services:
		return w.add()
	case chance < 24 && len(names) > w.options.Services/2:
		return map[types.NamespacedName]object{name: {}}
	case chance < 28: // deleted and made again at once, as something else
		return map[types.NamespacedName]object{name: w.object(name)}
	case chance < 36 && name != other:
		return w.swap(name, other)
	case chance < 64:
		return map[types.NamespacedName]object{name: w.edit(w.objects[name])}
	default:
		return map[types.NamespacedName]object{name: w.moveEndpoints(w.objects[name])}
	}
}

func (w *World) add() map[types.NamespacedName]object {
	for {
		name := types.NamespacedName{Namespace: pick(w, "default", "shop"), Name: fmt.Sprintf("service-%d", w.random.IntN(4*w.options.Services))}
		if _, exists := w.objects[name]; !exists {
			return map[types.NamespacedName]object{name: w.object(name)}
		}
	}
}

// apply stores the objects and returns the names of those whose plan is or was not empty. Claims that two Services
// exchange may cross; a claim that another Service keeps makes all of it void.
func (w *World) apply(objects map[types.NamespacedName]object) map[types.NamespacedName]bool {
	owners := maps.Clone(w.owners)
	maps.DeleteFunc(owners, func(_ claim, name types.NamespacedName) bool { _, replaced := objects[name]; return replaced })
	for _, name := range plan.SortedNames(objects) {
		for _, claim := range claimsOf(objects[name].service) {
			if _, taken := owners[claim]; taken {
				return nil
			}
			owners[claim] = name
		}
	}
	w.noteFreed(objects, owners)
	w.owners = owners
	touched := map[types.NamespacedName]bool{}
	for name, object := range objects {
		ports := w.ports(object)
		if len(ports)+len(w.plan[name]) > 0 {
			touched[name] = true
		}
		w.objects[name], w.plan[name] = object, ports
		if object.service == nil {
			delete(w.objects, name)
		}
		if len(ports) == 0 {
			delete(w.plan, name)
		}
	}
	return touched
}

func (w *World) noteFreed(objects map[types.NamespacedName]object, owners map[claim]types.NamespacedName) {
	for _, name := range plan.SortedNames(objects) {
		for _, claim := range claimsOf(w.objects[name].service) {
			if _, taken := owners[claim]; !taken {
				w.freed = append(w.freed, claim)
			}
		}
	}
	const kept = 12
	w.freed = w.freed[max(0, len(w.freed)-kept):]
}

// ports are those of the World's family.
func (w *World) ports(o object) []plan.Port {
	if o.service == nil {
		return nil
	}
	ports := plan.Service(o.service, o.slices, w.options.Node)
	return slices.DeleteFunc(ports, func(port plan.Port) bool {
		return port.ClusterIP.Is4() != (w.options.Family == corev1.IPv4Protocol)
	})
}

func (w *World) names() []types.NamespacedName { return plan.SortedNames(w.objects) }

func pick[T any](w *World, choices ...T) T { return choices[w.random.IntN(len(choices))] }

// oneIn is true once in n times.
func (w *World) oneIn(n int) bool { return w.random.IntN(n) == 0 }
