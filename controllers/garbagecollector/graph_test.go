package garbagecollector

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// locateAnywhere takes owners for namespaced unless their name starts with "node".
func locateAnywhere(ref metav1.OwnerReference, namespace string) identity {
	if strings.HasPrefix(ref.Name, "node") {
		namespace = ""
	}
	return identity{resource: schema.GroupVersionResource{Version: "v1", Resource: "things"}, namespace: namespace, name: ref.Name, uid: ref.UID}
}

type thing struct {
	name       string // UID and name
	namespace  string
	owners     []string // "name", or "name!" for one whose deletion it blocks
	finalizers []string
	deleting   bool
}

func (o thing) meta() *metav1.ObjectMeta {
	meta := &metav1.ObjectMeta{Name: o.name, Namespace: o.namespace, UID: types.UID(o.name), Finalizers: o.finalizers}
	for _, owner := range o.owners {
		name, blocks := strings.CutSuffix(owner, "!")
		meta.OwnerReferences = append(meta.OwnerReferences, metav1.OwnerReference{Name: name, UID: types.UID(name), BlockOwnerDeletion: ptr.To(blocks)})
	}
	if o.deleting {
		meta.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1, 0)))
	}
	return meta
}

func TestGraph(t *testing.T) {
	foreground, letGo := []string{metav1.FinalizerDeleteDependents}, []string{metav1.FinalizerOrphanDependents}
	// A step observes a thing, or removes the one of the name; want are the tasks that it makes.
	type step struct {
		observe thing
		remove  string
		want    string
	}
	cases := []struct {
		name  string
		steps []step
	}{
		{"dependents follow their owner", []step{
			{observe: thing{name: "rs", namespace: "a"}},
			{observe: thing{name: "pod-2", namespace: "a", owners: []string{"rs"}}},
			{observe: thing{name: "pod-1", namespace: "a", owners: []string{"rs"}}},
			{remove: "rs", want: "collect pod-1, collect pod-2"},
			{remove: "pod-1"},
		}},
		{"an owner nobody has seen is confirmed once", []step{
			{observe: thing{name: "pod-1", namespace: "a", owners: []string{"rs"}}, want: "confirm rs"},
			{observe: thing{name: "pod-2", namespace: "a", owners: []string{"rs"}}},
			{remove: "rs", want: "collect pod-1, collect pod-2"},
		}},
		{"an unseen owner without dependents is forgotten", []step{
			{observe: thing{name: "pod-1", namespace: "a", owners: []string{"rs"}}, want: "confirm rs"},
			{remove: "pod-1"},
			{remove: "rs"},
		}},
		{"an owner in another namespace does not count", []step{
			{observe: thing{name: "rs", namespace: "b"}},
			{observe: thing{name: "pod", namespace: "a", owners: []string{"rs"}}, want: "collect pod"},
		}},
		{"an owner in another namespace, seen later", []step{
			{observe: thing{name: "pod", namespace: "a", owners: []string{"rs"}}, want: "confirm rs"},
			{observe: thing{name: "rs", namespace: "b"}, want: "collect pod"},
		}},
		{"a cluster-wide owner", []step{
			{observe: thing{name: "node-1"}},
			{observe: thing{name: "lease", namespace: "a", owners: []string{"node-1"}}},
			{remove: "node-1", want: "collect lease"},
		}},
		{"foreground: dependents first, then the owner", []step{
			{observe: thing{name: "d", namespace: "a"}},
			{observe: thing{name: "rs", namespace: "a", owners: []string{"d!"}}},
			{observe: thing{name: "d", namespace: "a", finalizers: foreground, deleting: true}, want: "collect rs, collect d"},
			{observe: thing{name: "d", namespace: "a", finalizers: foreground, deleting: true}},
			{remove: "rs", want: "collect d"},
		}},
		{"foreground: a reference removed wakes the owner", []step{
			{observe: thing{name: "d", namespace: "a", finalizers: foreground, deleting: true}, want: "collect d"},
			{observe: thing{name: "rs", namespace: "a", owners: []string{"d!"}}, want: "collect rs"},
			{observe: thing{name: "rs", namespace: "a"}, want: "collect d"},
		}},
		{"orphan", []step{
			{observe: thing{name: "rs", namespace: "a"}},
			{observe: thing{name: "pod", namespace: "a", owners: []string{"rs"}}},
			{observe: thing{name: "rs", namespace: "a", finalizers: letGo, deleting: true}, want: "orphan rs"},
			{observe: thing{name: "rs", namespace: "a", finalizers: letGo, deleting: true}},
			{observe: thing{name: "pod", namespace: "a"}},
			{remove: "rs"},
		}},
		{"a finalizer alone means nothing", []step{
			{observe: thing{name: "rs", namespace: "a", finalizers: slices.Concat(foreground, letGo)}},
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			g := newGraph()
			for i, step := range tc.steps {
				var tasks []task
				if step.remove != "" {
					tasks = g.remove(types.UID(step.remove))
				} else {
					meta := step.observe.meta()
					where := identity{resource: schema.GroupVersionResource{Version: "v1", Resource: "things"}, namespace: meta.Namespace, name: meta.Name, uid: meta.UID}
					tasks = g.observe(meta, where, locateAnywhere)
				}
				var got []string
				for _, task := range tasks {
					got = append(got, fmt.Sprintf("%s %s", task.action, task.uid))
				}
				if joined := strings.Join(got, ", "); joined != step.want {
					t.Errorf("step %d: got %q, want %q", i+1, joined, step.want)
				}
			}
		})
	}
}
