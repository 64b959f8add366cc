package garbagecollector

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
)

// action is what is to be done about an object.
type action string

const (
	// confirm looks whether an owner exists that a dependent names but no informer has shown.
	confirm action = "confirm"
	// collect looks whether the object is to be deleted, or to be let go because its dependents are gone.
	collect action = "collect"
	// orphan removes the references of the object's dependents to it.
	orphan action = "orphan"
)

// task is an action on the object with the UID.
type task struct {
	action action
	uid    types.UID
}

// identity says where an object is to be found. resource is empty for an owner of a kind that is not served.
type identity struct {
	resource  schema.GroupVersionResource
	namespace string
	name      string
	uid       types.UID
}

// node is an object as the graph knows it.
type node struct {
	identity
	observed   bool // by an informer; otherwise only named as an owner
	owners     []metav1.OwnerReference
	dependents map[*node]struct{}
	deleting   bool
	foreground bool // deleting, and waiting for its dependents
	orphaning  bool // deleting, and its dependents are to be let go
}

// rememberedGone is how many deleted owners are remembered, so that their dependents need not ask for each again.
const rememberedGone = 500

// graph holds all objects by UID. It may be used concurrently.
type graph struct {
	mu    sync.Mutex
	nodes map[types.UID]*node
	gone  *lru.Cache // UIDs of owners that were deleted
}

func newGraph() *graph {
	return &graph{nodes: make(map[types.UID]*node), gone: lru.New(rememberedGone)}
}

// observe takes in an object that is there, new or changed. locate finds where an owner is, seen from a dependent's namespace.
func (g *graph) observe(object metav1.Object, where identity, locate func(ref metav1.OwnerReference, namespace string) identity) []task {
	g.mu.Lock()
	defer g.mu.Unlock()
	var tasks []task
	n := g.nodes[where.uid]
	if n == nil {
		n = &node{}
		g.nodes[where.uid] = n
	}
	n.identity = where
	if !n.observed {
		n.observed = true
		// Named before it was seen: those who named it from a place where it is not have no such owner.
		for dependent := range n.dependents {
			if misplaced(n, dependent) {
				tasks = append(tasks, task{collect, dependent.uid})
			}
		}
	}
	tasks = append(tasks, g.setOwners(n, object.GetOwnerReferences(), locate)...)
	tasks = append(tasks, g.setDeletion(n, object)...)
	return tasks
}

// setOwners links n with its present owners.
func (g *graph) setOwners(n *node, refs []metav1.OwnerReference, locate func(metav1.OwnerReference, string) identity) []task {
	if apiequality.Semantic.DeepEqual(n.owners, refs) {
		return nil
	}
	tasks := g.unlink(n)
	n.owners = slices.Clone(refs)
	for _, ref := range refs {
		owner := g.nodes[ref.UID]
		if owner == nil {
			owner = &node{identity: locate(ref, n.namespace)}
			g.nodes[ref.UID] = owner
			tasks = append(tasks, task{confirm, ref.UID})
		}
		if owner.dependents == nil {
			owner.dependents = make(map[*node]struct{})
		}
		owner.dependents[n] = struct{}{}
		if owner.foreground || owner.observed && misplaced(owner, n) {
			tasks = append(tasks, task{collect, n.uid})
		}
	}
	return tasks
}

// unlink removes n from its owners; those that waited for it look again, those that were only known through it are forgotten.
func (g *graph) unlink(n *node) []task {
	var tasks []task
	for _, ref := range n.owners {
		owner := g.nodes[ref.UID]
		if owner == nil {
			continue
		}
		delete(owner.dependents, n)
		if owner.foreground {
			tasks = append(tasks, task{collect, owner.uid})
		}
		if !owner.observed && len(owner.dependents) == 0 {
			delete(g.nodes, ref.UID)
		}
	}
	n.owners = nil
	return tasks
}

func (g *graph) setDeletion(n *node, object metav1.Object) []task {
	var tasks []task
	was := *n
	n.deleting = object.GetDeletionTimestamp() != nil
	n.foreground = n.deleting && slices.Contains(object.GetFinalizers(), metav1.FinalizerDeleteDependents)
	n.orphaning = n.deleting && slices.Contains(object.GetFinalizers(), metav1.FinalizerOrphanDependents)
	if n.orphaning && !was.orphaning {
		tasks = append(tasks, task{orphan, n.uid})
	}
	if n.foreground && !was.foreground {
		tasks = append(tasks, collectAll(n.dependents)...)
		tasks = append(tasks, task{collect, n.uid})
	}
	return tasks
}

// remove takes in that an object is gone, or never was.
func (g *graph) remove(uid types.UID) []task {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[uid]
	if n == nil {
		return nil
	}
	delete(g.nodes, uid)
	tasks := g.unlink(n)
	if len(n.dependents) > 0 && n.observed {
		g.gone.Add(uid, nil)
	}
	return append(tasks, collectAll(n.dependents)...)
}

// collectAll is in the order of the dependents' places, so that the same graph gives the same order.
func collectAll(dependents map[*node]struct{}) []task {
	sorted := slices.SortedFunc(maps.Keys(dependents), func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.resource.String(), b.resource.String()), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	tasks := make([]task, len(sorted))
	for i, dependent := range sorted {
		tasks[i] = task{collect, dependent.uid}
	}
	return tasks
}

// misplaced says whether owner is in another namespace than the dependent that names it.
func misplaced(owner, dependent *node) bool {
	return owner.namespace != "" && owner.namespace != dependent.namespace
}

// isGone says whether the object is known to have been deleted. False does not mean that it exists.
func (g *graph) isGone(uid types.UID) bool {
	_, gone := g.gone.Get(uid)
	return gone
}

// snapshot is a node at one moment.
type snapshot struct {
	identity
	observed, deleting, foreground bool
	dependents                     []dependent
}

type dependent struct {
	identity
	foreground bool
	blocks     bool // the owner's deletion waits for it
}

// look returns the node with the UID; known is false if there is none.
func (g *graph) look(uid types.UID) (seen snapshot, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[uid]
	if n == nil {
		return snapshot{}, false
	}
	seen = snapshot{identity: n.identity, observed: n.observed, deleting: n.deleting, foreground: n.foreground}
	for d := range n.dependents {
		blocks := slices.ContainsFunc(d.owners, func(ref metav1.OwnerReference) bool {
			return ref.UID == uid && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
		})
		seen.dependents = append(seen.dependents, dependent{identity: d.identity, foreground: d.foreground, blocks: blocks})
	}
	return seen, true
}
