package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/examples/classroom"
	"github.com/kubelite/kubelite/internal/netns"
)

// manifest is a Service whose Pods are Ready when they listen: without the probe they are as soon as they run.
const manifest = `apiVersion: v1
kind: Service
metadata: {name: kubia}
spec:
  selector: {app: kubia}
  ports: [{port: 80, targetPort: 8080}]
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
      containers: [{name: kubia, image: luksa/kubia, readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}}]
`

// crash is one round of TestKill: which processes are killed at once. "server" is the server, a node's name its agent.
type crash []string

var crashes = []crash{
	{"server"},
	{"agent node-1"},
	{"server", "agent node-1", "agent node-2"},
	{"agent node-1", "agent node-2"},
	{"server", "agent node-2"},
	{"server"},
}

// TestKill kills processes with SIGKILL while ConfigMaps are written and a Service is used, and starts them again with `up`.
func TestKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	room := startRoom(ctx, t, "faults")
	if err := room.Apply(ctx, manifest); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, room)
	before := waitForPods(ctx, t, client)
	service, err := client.CoreV1().Services("default").Get(ctx, "kubia", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	writer := &writer{client: client, written: map[string]string{}}
	user := newUser(lab.DefaultNetwork(room.Name, 2).NodeList()[1].NetNS, "http://"+service.Spec.ClusterIP)
	if err := user.waitForFirst(ctx); err != nil {
		t.Fatal(err)
	}
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { writer.run(working) })
	work.Go(func() { user.run(working) })

	for round, victims := range crashes {
		writer.waitFor(ctx, t, (round+1)*40) // in the middle of writing
		kill(ctx, t, room, victims)
		if err := room.Up(ctx, io.Discard); err != nil {
			t.Fatalf("round %d, after the end of %v: %v", round, victims, err)
		}
		if after := waitForPods(ctx, t, client); !maps.Equal(before, after) {
			t.Errorf("round %d, after the end of %v: containers were %v and are %v", round, victims, before, after)
		}
		writer.check(ctx, t)
	}
	stop()
	work.Wait()
	user.check(t)

	if err := client.AppsV1().Deployments("default").Delete(ctx, "kubia", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForNoPods(ctx, t, client)
}

// TestDownAndUp takes a cluster down and resumes it: the objects are there, and the Pods run again.
func TestDownAndUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	room := startRoom(ctx, t, "resume")
	if err := room.Apply(ctx, manifest); err != nil {
		t.Fatal(err)
	}
	before := waitForPods(ctx, t, newClient(t, room))
	if err := room.Kubelite(ctx, io.Discard, "down"); err != nil {
		t.Fatal(err)
	}
	if left, err := lab.Namespaces(room.Name); err != nil || len(left) > 0 {
		t.Errorf("after down there are namespaces: %v, %v", left, err)
	}
	if err := room.Up(ctx, io.Discard); err != nil {
		t.Fatal(err)
	}
	after := waitForPods(ctx, t, newClient(t, room))
	if !slices.Equal(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))) {
		t.Errorf("the Pods were %v and are %v", before, after)
	}
	var again strings.Builder
	if err := room.Up(ctx, &again); err != nil || !strings.Contains(again.String(), "is already running") {
		t.Errorf("a second up: %v, %q", err, again.String())
	}
}

func newClient(t *testing.T, room *classroom.Classroom) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", room.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// kill ends processes with SIGKILL, all at once, by the pids that `status` tells.
func kill(ctx context.Context, t *testing.T, room *classroom.Classroom, victims crash) {
	t.Helper()
	status := statusOf(ctx, t, room)
	killed := 0
	for _, process := range status.Processes {
		if slices.Contains(victims, process.Name) && process.PID != 0 {
			if err := syscall.Kill(process.PID, syscall.SIGKILL); err != nil {
				t.Fatalf("kill %s: %v", process.Name, err)
			}
			killed++
		}
	}
	if killed != len(victims) {
		t.Fatalf("killed %d of %v; the processes are %v", killed, victims, status.Processes)
	}
}

// waitForPods waits until both Pods are Ready, and returns their containers by the Pods' names, with how often they were
// restarted.
func waitForPods(ctx context.Context, t *testing.T, client kubernetes.Interface) map[string]string {
	t.Helper()
	for {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=kubia"})
		if err == nil {
			containers := map[string]string{}
			for _, pod := range pods.Items {
				if isReady(&pod) && pod.DeletionTimestamp == nil {
					status := pod.Status.ContainerStatuses[0]
					containers[pod.Name] = fmt.Sprintf("%s restarted %d times", status.ContainerID, status.RestartCount)
				}
			}
			if len(containers) == 2 {
				return containers
			}
		}
		if !pause(ctx) {
			t.Fatalf("the Pods are not Ready: %v", err)
		}
	}
}

func waitForNoPods(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	for {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) == 0 {
			return
		}
		if !pause(ctx) {
			t.Fatalf("Pods are left: %v", err)
		}
	}
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// pause waits a moment between two looks, and is false when there is no time left for another.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(20 * time.Millisecond):
		return true
	}
}

// writer creates ConfigMaps one after the other and remembers which the API server acknowledged.
type writer struct {
	client kubernetes.Interface

	lock    sync.Mutex
	written map[string]string // value by name
}

func (w *writer) run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		name, value := fmt.Sprintf("written-%d", i), fmt.Sprint(time.Now().UnixNano())
		_, err := w.client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Data:       map[string]string{"value": value},
		}, metav1.CreateOptions{})
		if err == nil {
			w.lock.Lock()
			w.written[name] = value
			w.lock.Unlock()
		}
		pause(ctx)
	}
}

func (w *writer) count() int {
	w.lock.Lock()
	defer w.lock.Unlock()
	return len(w.written)
}

// waitFor waits until the server has acknowledged n writes in all.
func (w *writer) waitFor(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for w.count() < n {
		if !pause(ctx) {
			t.Fatalf("%d writes were acknowledged, want %d", w.count(), n)
		}
	}
}

// check looks for everything that was acknowledged before.
func (w *writer) check(ctx context.Context, t *testing.T) {
	t.Helper()
	w.lock.Lock()
	acknowledged := maps.Clone(w.written)
	w.lock.Unlock()
	list, err := w.client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{}
	for _, configMap := range list.Items {
		stored[configMap.Name] = configMap.Data["value"]
	}
	for name, value := range acknowledged {
		if stored[name] != value {
			t.Errorf("%s was acknowledged with %s and is %q", name, value, stored[name])
		}
	}
}

// user asks a Service again and again from a node, with a new connection each time.
type user struct {
	client   *http.Client
	url      string
	answered int
	failures []error
}

func newUser(netNS, url string) *user {
	return &user{
		client: &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{DialContext: netns.Dialer(netNS), DisableKeepAlives: true},
		},
		url: url,
	}
}

func (u *user) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, nil)
	if err != nil {
		return err
	}
	response, err := u.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && !strings.HasPrefix(string(body), "You've hit kubia-") {
		return fmt.Errorf("answer %q", body)
	}
	return err
}

// waitForFirst waits until the Service is reachable from the user's place.
func (u *user) waitForFirst(ctx context.Context) error {
	for {
		err := u.ask(ctx)
		if err == nil || !pause(ctx) {
			return err
		}
	}
}

func (u *user) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := u.ask(ctx); err == nil {
			u.answered++
		} else if ctx.Err() == nil {
			u.failures = append(u.failures, fmt.Errorf("after %d answers: %w", u.answered, err))
		}
		pause(ctx)
	}
}

// check finds fault with every request that was not answered: neither the server nor an agent is on a connection's way.
func (u *user) check(t *testing.T) {
	t.Helper()
	t.Logf("%d requests were answered, %d were not", u.answered, len(u.failures))
	if len(u.failures) > 0 {
		t.Errorf("%d of %d requests were not answered, the first: %v", len(u.failures), u.answered+len(u.failures), u.failures[0])
	}
}
