package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// cluster is the scheduler's picture of the nodes and of the Pods on them, the assumed ones included. It is guarded by
// the controller's lock.
type cluster struct {
	nodes  map[string]*nodeState
	byUID  map[types.UID]*placed
	sorted []*nodeState // of the nodes that exist, in natural order; nil after a change
}

// nodeState is a node and what runs on it. A Pod may name a node that is not known (yet): then node is nil.
type nodeState struct {
	name  string
	node  *corev1.Node
	pods  map[types.UID]*placed
	used  amounts // requested by all Pods
	score amounts // the same, where a container that requests nothing counts as a small one
}

// placed is a Pod on a node.
type placed struct {
	pod      *corev1.Pod
	nodeName string
	assumed  bool // bound by this scheduler, and the cache does not show it yet
	requests amounts
	score    amounts
}

func newCluster() *cluster {
	return &cluster{nodes: map[string]*nodeState{}, byUID: map[types.UID]*placed{}}
}

// setNode adds or replaces a node.
func (c *cluster) setNode(node *corev1.Node) {
	c.state(node.Name).node = node
	c.sorted = nil
}

// removeNode forgets a node; its Pods stay until they are deleted themselves.
func (c *cluster) removeNode(name string) {
	state := c.state(name)
	state.node = nil
	c.sorted = nil
	c.tidy(state)
}

// setPod puts a Pod on a node, or replaces what is known of it.
func (c *cluster) setPod(pod *corev1.Pod, nodeName string, assumed bool) {
	c.removePod(pod.UID)
	entry := &placed{pod: pod, nodeName: nodeName, assumed: assumed, requests: requestsOf(pod), score: scoreRequestsOf(pod)}
	state := c.state(nodeName)
	state.pods[pod.UID] = entry
	state.used.add(entry.requests)
	state.score.add(entry.score)
	c.byUID[pod.UID] = entry
}

// removePod takes a Pod off its node; one that is unknown is no error.
func (c *cluster) removePod(uid types.UID) {
	entry, known := c.byUID[uid]
	if !known {
		return
	}
	delete(c.byUID, uid)
	state := c.state(entry.nodeName)
	delete(state.pods, uid)
	state.used.subtract(entry.requests)
	state.score.subtract(entry.score)
	c.tidy(state)
}

func (c *cluster) state(name string) *nodeState {
	state, known := c.nodes[name]
	if !known {
		state = &nodeState{name: name, pods: map[types.UID]*placed{}, used: amounts{}, score: amounts{}}
		c.nodes[name] = state
	}
	return state
}

func (c *cluster) tidy(state *nodeState) {
	if state.node == nil && len(state.pods) == 0 {
		delete(c.nodes, state.name)
	}
}

// list returns the nodes that exist, in natural order: node-2 before node-10.
func (c *cluster) list() []*nodeState {
	if c.sorted == nil {
		c.sorted = make([]*nodeState, 0, len(c.nodes))
		for _, state := range c.nodes {
			if state.node != nil {
				c.sorted = append(c.sorted, state)
			}
		}
		slices.SortFunc(c.sorted, func(a, b *nodeState) int {
			return cmp.Or(cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
		})
	}
	return c.sorted
}
