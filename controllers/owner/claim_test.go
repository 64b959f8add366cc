package owner

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/utils/ptr"
)

var (
	selector = labels.SelectorFromSet(labels.Set{"app": "web"})
	deleted  = ptr.To(metav1.NewTime(time.Unix(1, 0)))
	setKind  = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
)

func set(options ...func(*metav1.ObjectMeta)) *metav1.ObjectMeta {
	return changed(&metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "set"}, options)
}

func pod(options ...func(*metav1.ObjectMeta)) *corev1.Pod {
	meta := &metav1.ObjectMeta{Name: "pod", Namespace: "default", UID: "pod", Labels: map[string]string{"app": "web"}}
	return &corev1.Pod{ObjectMeta: *changed(meta, options)}
}

func changed(meta *metav1.ObjectMeta, options []func(*metav1.ObjectMeta)) *metav1.ObjectMeta {
	for _, option := range options {
		option(meta)
	}
	return meta
}

func going(meta *metav1.ObjectMeta)      { meta.DeletionTimestamp = deleted }
func unselected(meta *metav1.ObjectMeta) { meta.Labels = nil }
func elsewhere(meta *metav1.ObjectMeta)  { meta.Namespace = "other" }

func ownedBy(uid types.UID) func(*metav1.ObjectMeta) {
	return func(meta *metav1.ObjectMeta) {
		meta.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: uid, Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
		}}
	}
}

func TestDecide(t *testing.T) {
	cases := []struct {
		name       string
		controller *metav1.ObjectMeta
		object     *corev1.Pod
		want       Claim
	}{
		{"its own", set(), pod(ownedBy("set")), Keep},
		{"its own, going", set(), pod(ownedBy("set"), going), Keep},
		{"another's", set(), pod(ownedBy("other")), Ignore},
		{"its own, relabelled", set(), pod(ownedBy("set"), unselected), Release},
		{"its own, relabelled, while it is deleted itself", set(going), pod(ownedBy("set"), unselected), Ignore},
		{"an orphan", set(), pod(), Adopt},
		{"an orphan, while it is deleted itself", set(going), pod(), Ignore},
		{"an orphan, going", set(), pod(going), Ignore},
		{"an orphan, not selected", set(), pod(unselected), Ignore},
		{"an orphan in another namespace", set(), pod(elsewhere), Ignore},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := Decide(tc.controller, tc.object, selector); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPatches(t *testing.T) {
	apply := func(object *corev1.Pod, patch []byte) *corev1.Pod {
		t.Helper()
		before, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
		if err != nil {
			t.Fatal(err)
		}
		patched := &corev1.Pod{}
		if err := json.Unmarshal(after, patched); err != nil {
			t.Fatal(err)
		}
		return patched
	}
	adopted := apply(pod(), adoptPatch(set(), setKind, "pod"))
	if !metav1.IsControlledBy(adopted, set()) {
		t.Errorf("after adoption the owners are %v", adopted.OwnerReferences)
	}
	other := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}
	adopted.OwnerReferences = append(adopted.OwnerReferences, other)
	released := apply(adopted, releasePatch("set", "pod"))
	if !slices.Equal(released.OwnerReferences, []metav1.OwnerReference{other}) {
		t.Errorf("after release the owners are %v, want %v", released.OwnerReferences, other)
	}
}

func TestClaim(t *testing.T) {
	asked := 0
	var patched []string
	claimer := Claimer[*corev1.Pod]{
		Controller: set(), Kind: setKind, Selector: selector,
		CanAdopt: func(context.Context) error { asked++; return nil },
		Patch: func(_ context.Context, object *corev1.Pod, _ []byte) error {
			patched = append(patched, object.Name)
			if object.Name == "vanished" {
				return apierrors.NewNotFound(corev1.Resource("pods"), object.Name)
			}
			return nil
		},
	}
	named := func(name string) func(*metav1.ObjectMeta) { return func(meta *metav1.ObjectMeta) { meta.Name = name } }
	candidates := []*corev1.Pod{
		pod(named("own"), ownedBy("set")), pod(named("orphan")), pod(named("vanished")),
		pod(named("relabelled"), ownedBy("set"), unselected), pod(named("other"), ownedBy("other")),
	}
	owned, err := claimer.Claim(t.Context(), candidates)
	if err != nil {
		t.Fatal(err)
	}
	if len(owned) != 2 || owned[0].Name != "own" || owned[1].Name != "orphan" {
		t.Errorf("owned are %v", owned)
	}
	if asked != 1 || !slices.Equal(patched, []string{"orphan", "vanished", "relabelled"}) {
		t.Errorf("asked %d times, patched %v", asked, patched)
	}
	claimer.CanAdopt = func(context.Context) error { return errors.New("gone") }
	owned, err = claimer.Claim(t.Context(), candidates)
	if err == nil || len(owned) != 1 {
		t.Errorf("a controller that is gone adopts: %v, %v", owned, err)
	}
}
