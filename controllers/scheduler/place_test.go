package scheduler

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func testNode(name string, change ...func(*corev1.Node)) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("2"),
			corev1.ResourceMemory: resource.MustParse("4Gi"),
			corev1.ResourcePods:   resource.MustParse("110"),
		}},
	}
	for _, f := range change {
		f(node)
	}
	return node
}

func testPod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
	}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func cpu(amount string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(amount)}
	}
}

func hostPortOf(port int32, address string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: port, HostPort: port, HostIP: address}}
	}
}

func tainted(key, value string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(node *corev1.Node) {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	}
}

func cordoned(node *corev1.Node) { node.Spec.Unschedulable = true }

func labelled(key, value string) func(*corev1.Node) {
	return func(node *corev1.Node) { node.Labels[key] = value }
}

func controlledBy(uid string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.OwnerReferences = []metav1.OwnerReference{{UID: types.UID(uid), Controller: ptr.To(true)}}
	}
}

func antiAffinity(pod *corev1.Pod) {
	pod.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{webTerm()},
	}}
}

func affinity(pod *corev1.Pod) {
	pod.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{webTerm()},
	}}
}

func webTerm() corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{
		TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}
}

func spreadOver(key string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.DoNotSchedule,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		}}
	}
}

func preferring(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
				Weight: 1, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{name},
				}}},
			}},
		}}
	}
}

func selecting(key, value string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{key: value} }
}

const unhelpful = " no new claims to deallocate, preemption: "

func TestPlace(t *testing.T) {
	two := []*corev1.Node{testNode("node-1"), testNode("node-2")}
	webService := &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}}
	tests := map[string]struct {
		pod      *corev1.Pod
		nodes    []*corev1.Node
		running  map[string][]*corev1.Pod
		services []*corev1.Service
		want     string // a node, or a message
	}{
		"no nodes":                          {pod: testPod("p"), want: "no nodes available to schedule pods"},
		"equal nodes: the first":            {pod: testPod("p"), nodes: two, want: "node-1"},
		"natural order":                     {pod: testPod("p"), nodes: []*corev1.Node{testNode("node-10"), testNode("node-9")}, want: "node-9"},
		"the emptier node":                  {pod: testPod("p"), nodes: two, running: map[string][]*corev1.Pod{"node-1": {testPod("x")}}, want: "node-2"},
		"away from its own kind by owner":   {pod: testPod("p", controlledBy("rs")), nodes: two, running: map[string][]*corev1.Pod{"node-1": {testPod("x", controlledBy("rs"))}, "node-2": {testPod("y", cpu("1"))}}, want: "node-2"},
		"away from its own kind by Service": {pod: testPod("p"), nodes: two, services: []*corev1.Service{webService}, running: map[string][]*corev1.Pod{"node-1": {testPod("x")}, "node-2": {testPod("y", cpu("1"), func(pod *corev1.Pod) { pod.Labels = nil })}}, want: "node-2"},
		"preferred node":                    {pod: testPod("p", preferring("node-2")), nodes: two, want: "node-2"},
		"preferred node among its kind":     {pod: testPod("p", preferring("node-2"), controlledBy("rs")), nodes: two, running: map[string][]*corev1.Pod{"node-2": {testPod("x", cpu("1"), controlledBy("rs"))}}, want: "node-1"},
		"PreferNoSchedule":                  {pod: testPod("p"), nodes: []*corev1.Node{testNode("node-1", tainted("k", "v", corev1.TaintEffectPreferNoSchedule)), testNode("node-2")}, want: "node-2"},
		"node selector":                     {pod: testPod("p", selecting("disk", "ssd")), nodes: []*corev1.Node{testNode("node-1"), testNode("node-2", labelled("disk", "ssd"))}, want: "node-2"},
		"node selector that matches none":   {pod: testPod("p", selecting("disk", "ssd")), nodes: two, want: "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector." + unhelpful + "0/2 nodes are available: 2 Preemption is not helpful for scheduling."},
		"cpu that is used up":               {pod: testPod("p", cpu("1500m")), nodes: two, running: map[string][]*corev1.Pod{"node-1": {testPod("x", cpu("1"))}, "node-2": {testPod("y", cpu("1"))}}, want: "0/2 nodes are available: 2 Insufficient cpu." + unhelpful + "0/2 nodes are available: 2 No preemption victims found for incoming pod."},
		"cpu that no node has":              {pod: testPod("p", cpu("3")), nodes: []*corev1.Node{testNode("node-1"), testNode("node-2", tainted("k", "v", corev1.TaintEffectNoSchedule))}, want: "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)." + unhelpful + "0/2 nodes are available: 2 Preemption is not helpful for scheduling."},
		"cpu and memory": {pod: testPod("p", cpu("3"), func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("8Gi")
		}), nodes: two[:1], want: "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory." + unhelpful + "0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		"an init container's request": {pod: testPod("p", func(pod *corev1.Pod) { pod.Spec.InitContainers = testPod("i", cpu("3")).Spec.Containers }), nodes: two[:1], want: "0/1 nodes are available: 1 Insufficient cpu." + unhelpful + "0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		"overhead": {pod: testPod("p", cpu("2"), func(pod *corev1.Pod) {
			pod.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m")}
		}), nodes: two[:1], want: "0/1 nodes are available: 1 Insufficient cpu." + unhelpful + "0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		"exactly what is left": {pod: testPod("p", cpu("1")), nodes: two[:1], running: map[string][]*corev1.Pod{"node-1": {testPod("x", cpu("1"))}}, want: "node-1"},
		"a full node": {pod: testPod("p"), nodes: []*corev1.Node{testNode("node-1", func(node *corev1.Node) { node.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("1") })}, running: map[string][]*corev1.Pod{"node-1": {testPod("x")}},
			want: "0/1 nodes are available: 1 Too many pods." + unhelpful + "0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		"cordoned": {pod: testPod("p"), nodes: []*corev1.Node{testNode("node-1", cordoned)}, want: "0/1 nodes are available: 1 node(s) were unschedulable." + unhelpful + "0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		"tolerated taint": {pod: testPod("p", func(pod *corev1.Pod) {
			pod.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		}), nodes: []*corev1.Node{testNode("node-1", cordoned, tainted("k", "v", corev1.TaintEffectNoExecute))}, want: "node-1"},
		"taken host port":                     {pod: testPod("p", hostPortOf(80, "")), nodes: two[:1], running: map[string][]*corev1.Pod{"node-1": {testPod("x", hostPortOf(80, "192.168.1.2"))}}, want: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports." + unhelpful + "0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		"other host address":                  {pod: testPod("p", hostPortOf(80, "127.0.0.1")), nodes: two[:1], running: map[string][]*corev1.Pod{"node-1": {testPod("x", hostPortOf(80, "192.168.1.2"))}}, want: "node-1"},
		"anti-affinity":                       {pod: testPod("p", antiAffinity), nodes: two, running: map[string][]*corev1.Pod{"node-1": {testPod("x")}, "node-2": {testPod("y")}}, want: "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules." + unhelpful + "0/2 nodes are available: 2 No preemption victims found for incoming pod."},
		"others' anti-affinity":               {pod: testPod("p"), nodes: two, running: map[string][]*corev1.Pod{"node-1": {testPod("x", antiAffinity)}, "node-2": {testPod("y", antiAffinity)}}, want: "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules." + unhelpful + "0/2 nodes are available: 2 No preemption victims found for incoming pod."},
		"affinity":                            {pod: testPod("p", affinity), nodes: two, running: map[string][]*corev1.Pod{"node-2": {testPod("x", cpu("1"))}}, want: "node-2"},
		"affinity to its own kind, the first": {pod: testPod("p", affinity), nodes: two, want: "node-1"},
		"affinity to nobody":                  {pod: testPod("p", affinity, func(pod *corev1.Pod) { pod.Labels = nil }), nodes: two, want: "0/2 nodes are available: 2 node(s) didn't match pod affinity rules." + unhelpful + "0/2 nodes are available: 2 Preemption is not helpful for scheduling."},
		"spread constraint":                   {pod: testPod("p", spreadOver(corev1.LabelHostname)), nodes: []*corev1.Node{testNode("node-1"), testNode("node-2", cordoned)}, running: map[string][]*corev1.Pod{"node-1": {testPod("x")}}, want: "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable." + unhelpful + "0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
		"spread label":                        {pod: testPod("p", spreadOver("zone")), nodes: two[:1], want: "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)." + unhelpful + "0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		"never preempts":                      {pod: testPod("p", selecting("a", "b"), func(pod *corev1.Pod) { pod.Spec.PreemptionPolicy = ptr.To(corev1.PreemptNever) }), nodes: two, want: "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector." + unhelpful + "not eligible due to preemptionPolicy=Never."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			for _, node := range test.nodes {
				c.setNode(node)
			}
			for node, pods := range test.running {
				for _, pod := range pods {
					c.setPod(pod, node, false)
				}
			}
			node, failure := place(test.pod, test.services, c.list())
			if got := node + failure; got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestReplicasAreSpread(t *testing.T) {
	c := newCluster()
	for i := range 3 {
		c.setNode(testNode(fmt.Sprintf("node-%d", i+1)))
	}
	counts := map[string]int{}
	for i := range 9 {
		pod := testPod(fmt.Sprintf("web-%d", i), controlledBy("rs"))
		node, failure := place(pod, nil, c.list())
		if failure != "" {
			t.Fatal(failure)
		}
		counts[node]++
		c.setPod(pod, node, true)
	}
	if fmt.Sprint(counts) != "map[node-1:3 node-2:3 node-3:3]" {
		t.Errorf("spread as %v", counts)
	}
}

func TestClusterCountsWhatIsRequested(t *testing.T) {
	c := newCluster()
	c.setNode(testNode("node-1"))
	c.setPod(testPod("a", cpu("1")), "node-1", true)
	c.setPod(testPod("a", cpu("1")), "node-1", false) // bound as assumed
	c.setPod(testPod("b", cpu("500m")), "node-2", false)
	if used := c.nodes["node-1"].used[corev1.ResourceCPU]; used != 1000 {
		t.Errorf("node-1 has %dm in use", used)
	}
	c.removePod("a")
	c.removePod("b")
	if used := c.nodes["node-1"].used; len(used) != 0 {
		t.Errorf("node-1 still has %v in use", used)
	}
	if _, known := c.nodes["node-2"]; known {
		t.Error("node-2 is remembered without Pods")
	}
}
