package nodeagent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/utils/clock"
)

const (
	statusPeriod  = 5 * time.Minute
	leasePeriod   = 10 * time.Second
	leaseDuration = 40 // seconds
	longestPause  = time.Second
)

// node keeps this machine's Node object: it registers it, and writes its status when something has changed and every five minutes.
type node struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	name     string
	ips      []string
	port     int32
	labels   map[string]string
	machine  machine

	mutex    sync.Mutex
	settled  bool   // it is known whether Pods can run: until then what an earlier agent has said of a ready node stands
	notReady string // why; empty: ready
	current  *v1.Node
	wake     chan struct{} // of one place
}

func newNode(client kubernetes.Interface, recorder record.EventRecorder, config Config, machine machine) *node {
	labels := map[string]string{v1.LabelHostname: config.NodeName, v1.LabelOSStable: "linux", v1.LabelArchStable: runtime.GOARCH}
	maps.Copy(labels, config.NodeLabels)
	return &node{
		client: client, recorder: recorder, name: config.NodeName, ips: config.nodeIPs(), port: int32(config.Port), labels: labels, machine: machine,
		notReady: "container runtime network not ready: the node has no podCIDR yet", wake: make(chan struct{}, 1),
	}
}

// setNotReady tells why Pods cannot run here; an empty reason makes the node ready.
func (n *node) setNotReady(reason string) {
	n.mutex.Lock()
	changed := n.notReady != reason || !n.settled
	n.notReady, n.settled = reason, true
	n.mutex.Unlock()
	if changed {
		n.nudge()
	}
}

func (n *node) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// observe takes the object as the informer has it. One that somebody has deleted is made again.
func (n *node) observe(object *v1.Node) {
	n.mutex.Lock()
	n.current = object
	n.mutex.Unlock()
	if object == nil {
		n.nudge()
	}
}

// run registers the node and keeps its status until ctx is done.
func (n *node) run(ctx context.Context) {
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	pause := 100 * time.Millisecond
	for {
		var again <-chan time.Time
		if err := n.write(ctx); err != nil && ctx.Err() == nil {
			slog.Error("write node status", "node", n.name, "error", err, "again", pause)
			again = time.After(pause)
			pause = min(2*pause, longestPause)
		} else {
			pause = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-ticker.C:
		case <-again:
		}
	}
}

// write brings the API object up to date, and makes it if it is missing.
func (n *node) write(ctx context.Context) error {
	n.mutex.Lock()
	reason, settled := n.notReady, n.settled
	n.mutex.Unlock()
	object, err := n.client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		fresh := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: n.labels}}
		fresh.Status = nodeStatus(fresh.Status, n.machine, n.name, n.ips, n.port, reason, time.Now())
		if _, err := n.client.CoreV1().Nodes().Create(ctx, fresh, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("register node %s: %w", n.name, err)
		}
		if object, err = n.client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{}); err == nil {
			slog.Info("node is registered", "node", n.name)
		}
	}
	if err != nil {
		return err
	}
	if err := n.writeLabels(ctx, object); err != nil {
		return err
	}
	if !settled && isReady(object) {
		return nil // a node that is not ready has no ready Pods; those of a killed agent have been serving all the time
	}
	before, after := &v1.Node{Status: object.Status}, &v1.Node{}
	after.Status = nodeStatus(object.Status, n.machine, n.name, n.ips, n.port, reason, time.Now())
	if err := n.patch(ctx, before, after, "status"); err != nil {
		return err
	}
	if reason == "" && !isReady(object) {
		n.recorder.Event(reference(object), v1.EventTypeNormal, "NodeReady", fmt.Sprintf("Node %s status is now: NodeReady", n.name))
	}
	return nil
}

func (n *node) writeLabels(ctx context.Context, object *v1.Node) error {
	labels := maps.Clone(object.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, n.labels)
	if maps.Equal(labels, object.Labels) {
		return nil
	}
	return n.patch(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Labels: object.Labels}}, &v1.Node{ObjectMeta: metav1.ObjectMeta{Labels: labels}})
}

func (n *node) patch(ctx context.Context, before, after *v1.Node, subresources ...string) error {
	from, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("encode node: %w", err)
	}
	to, err := json.Marshal(after)
	if err != nil {
		return fmt.Errorf("encode node: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(from, to, v1.Node{})
	if err != nil {
		return fmt.Errorf("compare nodes: %w", err)
	}
	_, err = n.client.CoreV1().Nodes().Patch(ctx, n.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, subresources...)
	return err
}

func isReady(object *v1.Node) bool {
	for _, condition := range object.Status.Conditions {
		if condition.Type == v1.NodeReady {
			return condition.Status == v1.ConditionTrue
		}
	}
	return false
}

// reference is how the kubelet's events name a Node: with its name as UID.
func reference(object *v1.Node) *v1.ObjectReference {
	return &v1.ObjectReference{Kind: "Node", Name: object.Name, UID: types.UID(object.Name)}
}

// renewLease keeps the node's Lease in kube-node-lease fresh until ctx is done; without it the node counts as lost.
func (n *node) renewLease(ctx context.Context) {
	own := func(object *coordination.Lease) error {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		if len(object.OwnerReferences) == 0 && n.current != nil {
			object.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.name, UID: n.current.UID}}
		}
		return nil
	}
	lease.NewController(clock.RealClock{}, n.client, n.name, leaseDuration, nil, leasePeriod, n.name, v1.NamespaceNodeLease, own).Run(ctx)
}
