package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/examples/classroom"
	"github.com/kubelite/kubelite/proxy"
)

// drained is a Deployment as Kubernetes' documentation advises: a Pod is Ready when it listens, and one that is to go serves for a
// moment longer, until every node has heard of it.
const drained = `apiVersion: v1
kind: Service
metadata: {name: kubia}
spec:
  type: NodePort
  selector: {app: kubia}
  ports: [{port: 80, targetPort: 8080, nodePort: 30123}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kubia}
spec:
  replicas: 2
  selector: {matchLabels: {app: kubia}}
  template:
    metadata: {labels: {app: kubia}}
    spec:
      containers:
      - name: kubia
        image: luksa/kubia
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 1}}}
`

// kernelTraces are what a mode leaves in a kernel, as a node's own tools print it.
var kernelTraces = map[proxy.Mode]string{
	proxy.IPTables:  "-A KUBE-SERVICES ",
	proxy.NFTables:  "table ip kubelite {",
	proxy.Userspace: "-A KUBE-PORTALS-CONTAINER ",
}

// TestModes changes the proxy mode of a running cluster and rolls a Deployment out in each, while a Pod's node and the laptop use the
// Service: no connection is lost, and nothing of the mode before is left. In mode userspace connections go through the proxy's
// process, so that those end which are open when it does; the ones that are lost at the change to it and from it are not counted.
func TestModes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	room := startRoom(ctx, t, "modes")
	if err := room.Apply(ctx, drained); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, room)
	waitForPods(ctx, t, client)
	service, err := client.CoreV1().Services("default").Get(ctx, "kubia", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	network := lab.DefaultNetwork(room.Name, 2)
	places := map[string]string{
		network.NodeList()[1].NetNS: "http://" + service.Spec.ClusterIP,
		network.LaptopNetNS():       "http://" + net.JoinHostPort(network.NodeList()[0].Address.String(), "30123"),
	}
	before := proxy.IPTables
	for _, mode := range []proxy.Mode{proxy.NFTables, proxy.IPTables, proxy.Userspace, proxy.NFTables} {
		t.Run(fmt.Sprintf("%s to %s", before, mode), func(t *testing.T) {
			change := func() {
				if err := room.Kubelite(ctx, io.Discard, append(upArguments, "--proxy-mode", string(mode))...); err != nil {
					t.Fatal(err)
				}
			}
			if before == proxy.Userspace || mode == proxy.Userspace {
				change()
			}
			under(ctx, t, places, func() {
				change()
				rollOut(ctx, t, client)
			})
			for _, node := range network.NodeList() {
				checkTraces(ctx, t, room, node.Name, mode)
			}
		})
		before = mode
	}
}

// under does something while the Service is used from several places, each by its URL. No request may be lost.
func under(ctx context.Context, t *testing.T, places map[string]string, do func()) {
	t.Helper()
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	var users []*user
	for netNS, url := range places {
		user := newUser(netNS, url)
		if err := user.waitForFirst(ctx); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		users = append(users, user)
		work.Go(func() { user.run(working) })
	}
	do()
	stop()
	work.Wait()
	for _, user := range users {
		user.check(t)
	}
}

// rollOut replaces the Deployment's Pods by new ones and waits until the old ones are gone.
func rollOut(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	before := waitForPods(ctx, t, client)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"rolled-out": time.Now().Format(time.RFC3339Nano)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AppsV1().Deployments("default").Patch(ctx, "kubia", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=kubia"})
		if err == nil && len(pods.Items) == 2 {
			fresh := 0
			for _, pod := range pods.Items {
				if _, old := before[pod.Name]; !old && isReady(&pod) {
					fresh++
				}
			}
			if fresh == 2 {
				return
			}
		}
		if !pause(ctx) {
			t.Fatalf("the rollout has not ended: %v", err)
		}
	}
}

// checkTraces waits until the node's kernel shows the mode and no other.
func checkTraces(ctx context.Context, t *testing.T, room *classroom.Classroom, node string, mode proxy.Mode) {
	t.Helper()
	for {
		var out strings.Builder
		for _, tool := range [][]string{{"iptables-save"}, {"nft", "list", "ruleset"}} {
			if err := room.Kubelite(ctx, &out, append([]string{"node", "exec", node, "--"}, tool...)...); err != nil {
				t.Fatal(err)
			}
		}
		wrong := ""
		for other, trace := range kernelTraces {
			if found := strings.Contains(out.String(), trace); found != (other == mode) {
				wrong = fmt.Sprintf("%s: in mode %s %q is there: %v", node, mode, trace, found)
			}
		}
		if wrong == "" {
			return
		}
		if !pause(ctx) {
			t.Fatal(wrong)
		}
	}
}
