package nodeipam

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// Controller assigns Pod ranges to Nodes.
type Controller struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	ranges   Ranges
	nodes    corelisters.NodeLister
	synced   cache.DoneChecker
	queue    *reconcile.Queue[string]

	mu    sync.Mutex
	taken map[string]netip.Prefix // by Node name; those included whose write the cache does not show yet
}

// New makes the controller over the factory's Nodes; recorder's source is "cidrAllocator".
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, ranges Ranges) (*Controller, error) {
	nodes := factory.Core().V1().Nodes()
	c := &Controller{client: client, recorder: recorder, ranges: ranges, nodes: nodes.Lister(), taken: map[string]netip.Prefix{}}
	c.queue = reconcile.NewQueue("nodeipam", c.sync)
	handled, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.nodeChanged(obj.(*corev1.Node)) },
		UpdateFunc: func(_, obj any) { c.nodeChanged(obj.(*corev1.Node)) },
		DeleteFunc: func(obj any) {
			if node, ok := reconcile.Deleted[*corev1.Node](obj); ok {
				c.nodeDeleted(node)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch Nodes for their ranges: %w", err)
	}
	c.synced = handled.HasSyncedChecker()
	return c, nil
}

// Run assigns ranges until ctx is done. It waits for its cache: no range is chosen before all taken ones are known.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitFor(ctx, "", c.synced) {
		c.queue.Run(ctx, 1)
	}
}

func (c *Controller) nodeChanged(node *corev1.Node) {
	if node.Spec.PodCIDR == "" {
		c.queue.Add(node.Name)
		return
	}
	prefix, err := netip.ParsePrefix(node.Spec.PodCIDR)
	if err != nil {
		slog.Warn("Node has an unreadable podCIDR", "node", node.Name, "podCIDR", node.Spec.PodCIDR, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[node.Name] = prefix
}

// nodeDeleted frees the Node's range and wakes the Nodes that got none.
func (c *Controller) nodeDeleted(node *corev1.Node) {
	c.mu.Lock()
	delete(c.taken, node.Name)
	c.mu.Unlock()
	for _, waiting := range c.withoutRange() {
		c.queue.Add(waiting)
	}
}

func (c *Controller) withoutRange() []string {
	var names []string
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		slog.Error("list Nodes without a range", "error", err)
	}
	for _, node := range nodes {
		if node.Spec.PodCIDR == "" {
			names = append(names, node.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *Controller) sync(ctx context.Context, name string) error {
	node, err := c.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("assign a range to node %s: %w", name, err)
	}
	if node.Spec.PodCIDR != "" {
		return nil
	}
	prefix, err := c.reserve(name)
	if err != nil {
		// Deleting another Node brings it back; there is nothing to try again before.
		c.recorder.Eventf(node, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", name)
		slog.Warn("no Pod range for node", "node", name, "clusterCIDR", c.ranges.cluster, "error", err)
		return nil
	}
	if err := c.write(ctx, node, prefix); err != nil {
		c.recorder.Eventf(node, corev1.EventTypeNormal, "CIDRAssignmentFailed", "Node %s status is now: CIDRAssignmentFailed", name)
		return err
	}
	return nil
}

// reserve returns the Node's range, chosen now or at an earlier try.
func (c *Controller) reserve(name string) (netip.Prefix, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if prefix, chosen := c.taken[name]; chosen {
		return prefix, nil
	}
	prefix, err := c.ranges.Choose(name, slices.Collect(maps.Values(c.taken)))
	if err == nil {
		c.taken[name] = prefix
	}
	return prefix, err
}

func (c *Controller) write(ctx context.Context, node *corev1.Node, prefix netip.Prefix) error {
	var texts []string
	for _, prefix := range c.ranges.all(prefix) {
		texts = append(texts, prefix.String())
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID},
		"spec":     map[string]any{"podCIDR": prefix.String(), "podCIDRs": texts},
	})
	if err != nil {
		return fmt.Errorf("encode range of node %s: %w", node.Name, err)
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		if _, err := c.nodes.Get(node.Name); apierrors.IsNotFound(err) {
			c.nodeDeleted(node) // its deletion was noted before the range was chosen
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("assign range %s to node %s: %w", prefix, node.Name, err)
	}
	return nil
}
