package registry

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// TestKindsKeepTheContract checks of every kind what kind.go promises of all.
func TestKindsKeepTheContract(t *testing.T) {
	resources := map[schema.GroupVersionResource]bool{}
	for _, kind := range Kinds(testConfig()) {
		if resources[kind.GroupVersionResource()] {
			t.Errorf("%s is there twice", kind.GroupVersionResource())
		}
		resources[kind.GroupVersionResource()] = true
		for _, made := range []struct {
			obj  runtime.Object
			kind string
		}{{kind.New(), kind.GroupVersionKind.Kind}, {kind.NewList(), kind.GroupVersionKind.Kind + "List"}} {
			known, _, err := Scheme.ObjectKinds(made.obj)
			if err != nil || known[0] != kind.GroupVersionKind.GroupVersion().WithKind(made.kind) {
				t.Errorf("%s: the scheme knows %T as %v (%v)", kind.Resource, made.obj, known, err)
			}
		}
		obj := kind.New()
		if kind.StoredAs != nil {
			obj = kind.StoredAs.ToStored(obj)
		}
		if cells := kind.Cells(obj); len(cells) != len(kind.Columns) {
			t.Errorf("%s: %d cells, %d columns", kind.Resource, len(cells), len(kind.Columns))
		}
		for _, column := range kind.Columns {
			if column.Description == "" {
				t.Errorf("%s: column %s has no description", kind.Resource, column.Name)
			}
		}
		if kind.Singular == "" || kind.ValidateName == nil {
			t.Errorf("%s: no singular or name rule", kind.Resource)
		}
		if kind.Fields != nil {
			kind.Fields(obj)
		}
	}
	if len(resources) != 16 {
		t.Errorf("%d kinds", len(resources))
	}
}

func TestConfigValidate(t *testing.T) {
	for _, c := range []struct {
		cidr        string
		first, last int
		want        string
	}{
		{"10.96.0.0/12", 30000, 32767, ""},
		{"fd00::/108", 30000, 32767, ""},
		{"10.96.0.0/12 fd00::/108", 30000, 32767, ""},
		{"fd00::/48", 30000, 32767, "service CIDR fd00::/48: an IPv6 range must be a /64 or smaller"},
		{"", 30000, 32767, "service CIDRs []: there must be one, or one of each IP family"},
		{"10.96.0.0/12 10.0.0.0/12", 30000, 32767, "service CIDRs [10.96.0.0/12 10.0.0.0/12]: must be of different IP families"},
		{"10.96.0.0/31", 30000, 32767, "service CIDR 10.96.0.0/31: must have at least 4 addresses"},
		{"10.96.0.0/12", 30000, 29999, "node ports 30000-29999: must be a range within 1-65535"},
		{"10.96.0.0/12", 0, 99999, "node ports 0-99999: must be a range within 1-65535"},
	} {
		got := ""
		var cidrs []netip.Prefix
		for _, cidr := range strings.Fields(c.cidr) {
			cidrs = append(cidrs, netip.MustParsePrefix(cidr))
		}
		if err := (Config{ServiceCIDRs: cidrs, NodePortFirst: c.first, NodePortLast: c.last}).Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestEventConversionIsLossless(t *testing.T) {
	at := metav1.NewMicroTime(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC))
	event := &eventsv1.Event{
		ObjectMeta:               metav1.ObjectMeta{Name: "a.1", Namespace: "default", Labels: map[string]string{"a": "b"}},
		EventTime:                at,
		Series:                   &eventsv1.EventSeries{Count: 3, LastObservedTime: at},
		ReportingController:      "controller",
		ReportingInstance:        "controller-1",
		Action:                   "Binding",
		Reason:                   "Scheduled",
		Regarding:                corev1.ObjectReference{Kind: "Pod", Name: "a", FieldPath: "spec.containers{a}"},
		Related:                  &corev1.ObjectReference{Kind: "Node", Name: "n"},
		Note:                     "note",
		Type:                     "Normal",
		DeprecatedSource:         corev1.EventSource{Component: "kubelet", Host: "node-1"},
		DeprecatedFirstTimestamp: metav1.NewTime(at.Time),
		DeprecatedLastTimestamp:  metav1.NewTime(at.Time),
		DeprecatedCount:          4,
	}
	before := event.DeepCopy()
	kind := newTable(testConfig())["events.events.k8s.io"]
	stored := kind.StoredAs.ToStored(event)
	back := kind.StoredAs.FromStored(stored)
	if !equality.Semantic.DeepEqual(before, back) || !equality.Semantic.DeepEqual(before, event) {
		t.Errorf("got %s\nwant %s", text(t, back), text(t, before))
	}
	if got := kind.Fields(stored)["regarding.name"]; got != "a" {
		t.Errorf("regarding.name is %q", got)
	}
	if got := kind.StoredAs.Kind.Fields(stored)["involvedObject.fieldPath"]; got != "spec.containers{a}" {
		t.Errorf("involvedObject.fieldPath is %q", got)
	}
}

func TestPodGracePeriod(t *testing.T) {
	running := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{
			Spec:   corev1.PodSpec{NodeName: "node-1", TerminationGracePeriodSeconds: ptr.To[int64](30)},
			Status: corev1.PodStatus{Phase: corev1.PodRunning},
		}
		change(pod)
		return pod
	}
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		asked  *int64
		want   int64
	}{
		{"the Pod's own", func(*corev1.Pod) {}, nil, 30},
		{"asked for", func(*corev1.Pod) {}, ptr.To[int64](5), 5},
		{"forced", func(*corev1.Pod) {}, ptr.To[int64](0), 0},
		{"negative", func(*corev1.Pod) {}, ptr.To[int64](-1), 1},
		{"unset", func(pod *corev1.Pod) { pod.Spec.TerminationGracePeriodSeconds = nil }, nil, 30},
		{"not scheduled", func(pod *corev1.Pod) { pod.Spec.NodeName = "" }, ptr.To[int64](5), 0},
		{"failed", func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed }, nil, 0},
		{"succeeded", func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded }, nil, 0},
	} {
		if got := newTable(testConfig())["pods"].GracePeriod(running(c.change), c.asked); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestNamespaceDeletion(t *testing.T) {
	kinds := newTable(testConfig())
	kind := kinds["namespaces"]
	for name, want := range map[string]string{
		"lesson":          "",
		"default":         `namespaces "default" is forbidden: this namespace may not be deleted`,
		"kube-system":     `namespaces "kube-system" is forbidden: this namespace may not be deleted`,
		"kube-public":     `namespaces "kube-public" is forbidden: this namespace may not be deleted`,
		"kube-node-lease": `namespaces "kube-node-lease" is forbidden: this namespace may not be deleted`,
	} {
		got := ""
		if err := kind.AdmitDelete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	namespace := kinds.create(t, "namespaces", "metadata: {name: lesson}").obj.(*corev1.Namespace)
	deleted := namespace.DeepCopy()
	deleted.DeletionTimestamp = ptr.To(metav1.Now())
	kind.MarkDeleted(deleted)
	if deleted.Status.Phase != corev1.NamespaceTerminating || !kind.Held(deleted) {
		t.Errorf("marked: %s", text(t, deleted))
	}
	emptied := deleted.DeepCopy()
	emptied.Spec.Finalizers = nil
	emptied.Status.Phase = corev1.NamespaceActive
	kind.PrepareForUpdate(emptied, deleted)
	if !kind.Held(emptied) {
		t.Error("an ordinary update removed the finalizer")
	}
	emptied.Spec.Finalizers = nil
	kind.Finalize.PrepareForUpdate(emptied, deleted)
	if kind.Held(emptied) || emptied.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("finalized: %s", text(t, emptied))
	}
}

// TestDefaultServiceAccountIsAwaited: a Pod in a new namespace waits for the namespace's service account.
func TestDefaultServiceAccountIsAwaited(t *testing.T) {
	accounts := make(chan Object, 1)
	asked := make(chan struct{}, 8)
	config := testConfig()
	var found Object
	config.Get = func(schema.GroupResource, string, string) Object {
		select {
		case found = <-accounts:
		default:
		}
		asked <- struct{}{}
		return found
	}
	kinds := newTable(config)
	result := make(chan error)
	pod := kinds.decode(t, "pods", pod(webContainer))
	go func() { result <- kinds.admit(kinds["pods"], pod, nil) }()
	<-asked
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	accounts <- account
	if err := kinds.admit(kinds["serviceaccounts"], account, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestDefaultServiceAccountIsNotAwaitedForEver(t *testing.T) {
	config := testConfig()
	config.Get = func(schema.GroupResource, string, string) Object { return nil }
	kinds := newTable(config)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := kinds["pods"].Admit(ctx, kinds.decode(t, "pods", pod(webContainer)), nil)
	const want = `pods "sleep" is forbidden: error looking up service account default/default: serviceaccount "default" not found`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestTokenMount(t *testing.T) {
	for _, c := range []struct {
		name          string
		spec, account *bool
		want          bool
	}{
		{"nobody says", nil, nil, true},
		{"the account says no", nil, ptr.To(false), false},
		{"the Pod overrules", ptr.To(true), ptr.To(false), true},
		{"the Pod says no", ptr.To(false), nil, false},
	} {
		config := testConfig()
		config.Get = func(schema.GroupResource, string, string) Object {
			return &corev1.ServiceAccount{AutomountServiceAccountToken: c.account, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}}
		}
		kinds := newTable(config)
		obj := kinds.decode(t, "pods", pod(webContainer)).(*corev1.Pod)
		obj.Spec.AutomountServiceAccountToken = c.spec
		if err := kinds.admit(kinds["pods"], obj, nil); err != nil {
			t.Fatal(err)
		}
		if mounted := len(obj.Spec.Containers[0].VolumeMounts) == 1 && len(obj.Spec.Volumes) == 1; mounted != c.want {
			t.Errorf("%s: mounted %v", c.name, mounted)
		}
		if len(obj.Spec.ImagePullSecrets) != 1 {
			t.Errorf("%s: no pull secret", c.name)
		}
	}
}

func TestQOSClass(t *testing.T) {
	for manifest, want := range map[string]corev1.PodQOSClass{
		webContainer: corev1.PodQOSBestEffort,
		"containers: [{name: a, image: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]":                         corev1.PodQOSGuaranteed,
		"containers: [{name: a, image: a, resources: {limits: {cpu: 1}}}]":                                      corev1.PodQOSBurstable,
		"containers: [{name: a, image: a, resources: {limits: {cpu: 1, memory: 1Gi}}}, {name: b, image: b}]":    corev1.PodQOSBurstable,
		"containers: [{name: a, image: a, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}}]":  corev1.PodQOSBurstable,
		webContainer + "initContainers: [{name: i, image: i, resources: {requests: {cpu: 1}}}]":                 corev1.PodQOSBurstable,
		webContainer + "initContainers: [{name: i, image: i, resources: {requests: {ephemeral-storage: 1Gi}}}]": corev1.PodQOSBestEffort,
	} {
		got := newTable(testConfig()).create(t, "pods", pod(manifest)).obj.(*corev1.Pod).Status.QOSClass
		if got != want {
			t.Errorf("%s: %s, want %s", manifest, got, want)
		}
	}
}
