package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/internal/netns"
)

// waitForServer waits until the API server is ready. Its socket is open already, so the first request waits for the answer
// and nothing is polled while the server starts.
func waitForServer(ctx context.Context, client kubernetes.Interface) error {
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		select { // it answers "not ready", or the connection broke
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// waitForNodes waits until every node is Ready. A fresh node's agent was just started: what the store says of it from before
// does not count.
func waitForNodes(ctx context.Context, client kubernetes.Interface, nodes []lab.Node, fresh map[string]bool, since time.Time) error {
	missing := map[string]bool{}
	for _, node := range nodes {
		missing[node.Name] = true
	}
	api := client.CoreV1().Nodes()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return api.List(ctx, options)
		},
		WatchFuncWithContext: api.Watch,
	}
	_, err := watchtools.UntilWithSync(ctx, source, &corev1.Node{}, nil, func(event watch.Event) (bool, error) {
		node, ok := event.Object.(*corev1.Node)
		if !ok {
			return false, nil
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue &&
				(!fresh[node.Name] || !condition.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))) {
				delete(missing, node.Name)
			}
		}
		return len(missing) == 0, nil
	})
	return err
}

// proxyHealth is where a node's Service proxy says whether it is in step, as kube-proxy's.
const proxyHealth = "http://127.0.0.1:10256/healthz"

// waitForProxies waits until every node's Service proxy has programmed all Services in its mode.
func (c *Cluster) waitForProxies(ctx context.Context) error {
	for _, node := range c.Network.NodeList() {
		transport := &http.Transport{DialContext: netns.Dialer(node.NetNS), DisableKeepAlives: true}
		if err := waitForHealth(ctx, &http.Client{Transport: transport, Timeout: time.Second}); err != nil {
			return fmt.Errorf("%s: %w", node.Name, err)
		}
	}
	return nil
}

func waitForHealth(ctx context.Context, client *http.Client) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, proxyHealth, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("its Service proxy answers %s", response.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// waitForDNS waits until the DNS Service has a ready endpoint and then until the first node gets an answer through it.
func (c *Cluster) waitForDNS(ctx context.Context, client kubernetes.Interface) error {
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem)
	selector := discoveryv1.LabelServiceName + "=kube-dns"
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			return slices.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return slices.Watch(ctx, options)
		},
	}
	_, err := watchtools.UntilWithSync(ctx, source, &discoveryv1.EndpointSlice{}, nil, func(event watch.Event) (bool, error) {
		slice, ok := event.Object.(*discoveryv1.EndpointSlice)
		if !ok {
			return false, nil
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return errors.Join(err, dnsTrouble(client))
	}
	dial := netns.Dialer(c.Network.NodeList()[0].NetNS)
	address := net.JoinHostPort(c.Network.ServiceAddress(10).String(), "53")
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, address)
	}}
	name := "kubernetes.default.svc." + c.ClusterDomain + "."
	for {
		attempt, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		_, err := resolver.LookupHost(attempt, name)
		cancel()
		if err == nil {
			return nil
		}
		select { // the node's rules are a moment behind the endpoints
		case <-ctx.Done():
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// dnsTrouble says what the DNS Pods' latest warnings are.
func dnsTrouble(client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	events, err := client.CoreV1().Events(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("type", corev1.EventTypeWarning).String(),
	})
	if err != nil || len(events.Items) == 0 {
		return err
	}
	last := events.Items[len(events.Items)-1]
	return fmt.Errorf("%s %s: %s: %s", last.InvolvedObject.Kind, last.InvolvedObject.Name, last.Reason, last.Message)
}
