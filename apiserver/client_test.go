package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// patience is how long a test waits for what must come; it never decides whether a test passes.
const patience = 20 * time.Second

var bothEncodings = []string{"application/json", "application/vnd.kubernetes.protobuf"}

func configMap(name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string]string{"k": "v"}}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "busybox"}}},
	}
}

// withDefaultAccount makes the service account that Pods need.
func withDefaultAccount(t *testing.T, server *testServer) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err := server.client(t, "application/json").CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTypedClients(t *testing.T) {
	server := startServer(t, t.TempDir())
	for _, encoding := range bothEncodings {
		t.Run(encoding, func(t *testing.T) { exerciseConfigMaps(t, server, encoding) })
	}
}

func exerciseConfigMaps(t *testing.T, server *testServer, encoding string) {
	ctx := t.Context()
	client := server.client(t, encoding).CoreV1().ConfigMaps("default")
	created, err := client.Create(ctx, configMap("one", nil), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if created.UID == "" || created.ResourceVersion == "" || created.CreationTimestamp.IsZero() {
		t.Errorf("created without uid, resourceVersion or creationTimestamp: %+v", created.ObjectMeta)
	}
	if _, err = client.Create(ctx, configMap("one", nil), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v", err)
	}
	same, err := client.Update(ctx, created, metav1.UpdateOptions{})
	if err != nil || same.ResourceVersion != created.ResourceVersion {
		t.Errorf("an update without a difference: revision %s after %s, %v", same.ResourceVersion, created.ResourceVersion, err)
	}
	changed := created.DeepCopy()
	changed.Data["k"] = "w"
	if _, err = client.Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	created.Data["k"] = "x"
	_, err = client.Update(ctx, created, metav1.UpdateOptions{})
	want := `Operation cannot be fulfilled on configmaps "one": ` + modifiedWords
	if !apierrors.IsConflict(err) || err.Error() != want {
		t.Errorf("stale update: %v", err)
	}
	patched, err := client.Patch(ctx, "one", types.MergePatchType, []byte(`{"data":{"l":"m"}}`), metav1.PatchOptions{})
	if err != nil || patched.Data["k"] != "w" || patched.Data["l"] != "m" {
		t.Errorf("patched: %v, %v", patched, err)
	}
	generated, err := client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}}, metav1.CreateOptions{})
	if err != nil || len(generated.Name) != len("made-")+5 {
		t.Errorf("generated name %q, %v", generated.Name, err)
	}
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 || list.Items[1].Name != "one" || list.Items[1].Data["l"] != "m" {
		t.Errorf("list: %+v, %v", list, err)
	}
	if err := client.Delete(ctx, "one", *metav1.NewPreconditionDeleteOptions("other")); !apierrors.IsConflict(err) {
		t.Errorf("delete with another uid: %v", err)
	}
	if err := client.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(ctx, "one", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get after delete: %v", err)
	}
}

// nextEvent is the next event of a watch, as "TYPE name".
func nextEvent(t *testing.T, watcher watch.Interface) (watch.Event, string) {
	t.Helper()
	select {
	case event, open := <-watcher.ResultChan():
		if !open {
			t.Fatal("the watch ended")
		}
		name := fmt.Sprintf("%T", event.Object)
		if obj, ok := event.Object.(metav1.Object); ok {
			name = obj.GetName()
		}
		return event, string(event.Type) + " " + name
	case <-time.After(patience):
		t.Fatal("no event came")
		return watch.Event{}, ""
	}
}

func TestWatch(t *testing.T) {
	server := startServer(t, t.TempDir())
	for _, encoding := range bothEncodings {
		t.Run(encoding, func(t *testing.T) { exerciseWatch(t, server, encoding) })
	}
}

func exerciseWatch(t *testing.T, server *testServer, encoding string) {
	ctx := t.Context()
	client := server.client(t, encoding).CoreV1().ConfigMaps("default")
	seen := map[string]string{"show": "yes"}
	if _, err := client.Create(ctx, configMap("before", seen), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	initial := true
	watcher, err := client.Watch(ctx, metav1.ListOptions{
		LabelSelector: "show=yes", SendInitialEvents: &initial, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	expect := func(want string) watch.Event {
		t.Helper()
		event, got := nextEvent(t, watcher)
		if got != want {
			t.Errorf("got event %q, want %q", got, want)
		}
		return event
	}
	expect("ADDED before")
	mark := expect("BOOKMARK ")
	if bookmark := mark.Object.(*corev1.ConfigMap); bookmark.Annotations[metav1.InitialEventsAnnotationKey] != "true" {
		t.Errorf("bookmark: %+v", bookmark)
	}
	if _, err := client.Create(ctx, configMap("hidden", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	label := func(value string) {
		t.Helper()
		body := fmt.Appendf(nil, `{"metadata":{"labels":{"show":%q}}}`, value)
		if _, err := client.Patch(ctx, "hidden", types.StrategicMergePatchType, body, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	label("yes")
	expect("ADDED hidden")
	label("no")
	gone := expect("DELETED hidden").Object.(*corev1.ConfigMap)
	if gone.Labels["show"] != "yes" {
		t.Errorf("an object that no longer matches is sent as it is now: %v", gone.Labels)
	}
	if err := client.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("DELETED before")
}

func TestWatchFromForgottenRevision(t *testing.T) {
	dir := t.TempDir()
	server := startServer(t, dir)
	list, err := server.client(t, "application/json").CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server.stop()
	server = startServer(t, dir)
	for _, encoding := range bothEncodings {
		watcher, err := server.client(t, encoding).CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		event, _ := nextEvent(t, watcher)
		if failure := apierrors.FromObject(event.Object); event.Type != watch.Error || !apierrors.IsResourceExpired(failure) {
			t.Errorf("%s: got %v", encoding, event)
		}
		watcher.Stop()
	}
}

func TestInformer(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/vnd.kubernetes.protobuf")
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().ConfigMaps().Informer()
	names := make(chan string, 10)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(obj any) { names <- obj.(*corev1.ConfigMap).Name }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer factory.Shutdown()
	defer cancel()
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer has not synced")
	}
	if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap("one", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case name := <-names:
		if name != "one" {
			t.Errorf("the informer saw %q", name)
		}
	case <-time.After(patience):
		t.Error("the informer saw nothing")
	}
}

func TestPagesAreOneSnapshot(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/json").CoreV1().ConfigMaps("default")
	for i := range 7 {
		if _, err := client.Create(t.Context(), configMap(fmt.Sprintf("map-%d", i), map[string]string{"odd": fmt.Sprint(i%2 == 1)}), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for selector, want := range map[string]string{"": "map-0 map-1 map-2 map-3 map-4 map-5 map-6", "odd=true": "map-1 map-3 map-5"} {
		var names []string
		options := metav1.ListOptions{Limit: 2, LabelSelector: selector}
		for {
			page, err := client.List(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				names = append(names, item.Name)
			}
			if options.Continue = page.Continue; options.Continue == "" {
				break
			}
			// what comes after the first page was taken must not be seen
			name := fmt.Sprintf("map-9%d%s", len(names), strings.ReplaceAll(selector, "=", "-"))
			if _, err := client.Create(t.Context(), configMap(name, map[string]string{"odd": "true"}), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("selector %q: %s, want %s", selector, got, want)
		}
		if err := client.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name!=x", LabelSelector: "odd=true"}); err != nil && selector != "" {
			t.Error(err)
		}
		for i := range 7 {
			_, err := client.Create(t.Context(), configMap(fmt.Sprintf("map-%d", i), map[string]string{"odd": fmt.Sprint(i%2 == 1)}), metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
		}
	}
}

func TestDynamicAndMetadataClients(t *testing.T) {
	server := startServer(t, t.TempDir())
	ctx := t.Context()
	resource := corev1.SchemeGroupVersion.WithResource("configmaps")
	dynamicClient, err := dynamic.NewForConfig(server.config)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "one"}}}
	if _, err := dynamicClient.Resource(resource).Namespace("default").Create(ctx, obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	metadataClient, err := metadata.NewForConfig(metadata.ConfigFor(rest.CopyConfig(server.config)))
	if err != nil {
		t.Fatal(err)
	}
	list, err := metadataClient.Resource(resource).List(ctx, metav1.ListOptions{})
	if err != nil || !slices.ContainsFunc(list.Items, func(item metav1.PartialObjectMetadata) bool { return item.Name == "one" }) {
		t.Errorf("metadata list: %+v, %v", list, err)
	}
	watcher, err := metadataClient.Resource(resource).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	if err := dynamicClient.Resource(resource).Namespace("default").Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if event, got := nextEvent(t, watcher); got != "DELETED one" {
		t.Errorf("metadata watch: %v", event)
	}
}

func TestPodDeletion(t *testing.T) {
	server := startServer(t, t.TempDir())
	withDefaultAccount(t, server)
	ctx := t.Context()
	client := server.client(t, "application/vnd.kubernetes.protobuf").CoreV1().Pods("default")
	created, err := client.Create(ctx, pod("one"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Target: corev1.ObjectReference{Kind: "Node", Name: "node-1"}}
	if err := client.Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = client.Bind(ctx, binding, metav1.CreateOptions{})
	if want := `Operation cannot be fulfilled on pods/binding "one": pod one is already assigned to node "node-1"`; err == nil || err.Error() != want {
		t.Errorf("second binding: %v", err)
	}
	if err := client.Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	dying, err := client.Get(ctx, "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if dying.DeletionTimestamp == nil || *dying.DeletionGracePeriodSeconds != 30 || dying.Spec.NodeName != "node-1" {
		t.Errorf("a bound Pod is left its grace: %+v", dying.ObjectMeta)
	}
	if left := time.Until(dying.DeletionTimestamp.Time); left < 20*time.Second {
		t.Errorf("deletionTimestamp is in %s", left)
	}
	last := metav1.NewPreconditionDeleteOptions(string(created.UID))
	last.GracePeriodSeconds = new(int64)
	if err := client.Delete(ctx, "one", *last); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, "one", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the agent's deletion left: %v", err)
	}
}

func TestFinalizers(t *testing.T) {
	server := startServer(t, t.TempDir())
	ctx := t.Context()
	client := server.client(t, "application/json").CoreV1().ConfigMaps("default")
	if _, err := client.Create(ctx, configMap("one", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	foreground := metav1.DeletePropagationForeground
	if err := client.Delete(ctx, "one", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	held, err := client.Get(ctx, "one", metav1.GetOptions{})
	if err != nil || !slices.Equal(held.Finalizers, []string{"foregroundDeletion"}) || held.DeletionTimestamp == nil {
		t.Fatalf("held: %+v, %v", held, err)
	}
	if err := client.Delete(ctx, "one", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	if again, err := client.Get(ctx, "one", metav1.GetOptions{}); err != nil || again.ResourceVersion != held.ResourceVersion {
		t.Errorf("a second deletion changed the object: %+v, %v", again, err)
	}
	held.Finalizers = nil
	if _, err := client.Update(ctx, held, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, "one", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the last finalizer: %v", err)
	}
}

func TestSharedEvents(t *testing.T) {
	server := startServer(t, t.TempDir())
	ctx := t.Context()
	client := server.client(t, "application/vnd.kubernetes.protobuf")
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "one", Namespace: "default"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "default"},
		Reason:         "Killing", Message: "Stopping container", Type: "Normal",
	}
	if _, err := client.CoreV1().Events("default").Create(ctx, event, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	list, err := client.EventsV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Note != "Stopping container" || list.Items[0].Regarding.Name != "p" {
		t.Errorf("events.k8s.io sees %+v, %v", list, err)
	}
}

func lease(name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
