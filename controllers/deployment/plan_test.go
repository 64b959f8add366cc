package deployment

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

var update = flag.Bool("update", false, "write the golden files anew")

// world is a Deployment and its ReplicaSets, on which plans are carried out in memory.
type world struct {
	d       *appsv1.Deployment
	sets    []*appsv1.ReplicaSet
	now     time.Time
	broken  string // the image whose Pods never become ready
	lasting bool   // Pods of scaled down ReplicaSets do not end
	log     strings.Builder
}

func newWorld(replicas int32, strategy appsv1.DeploymentStrategy) *world {
	start := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	return &world{now: start, d: &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "d", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas:                ptr.To(replicas),
			RevisionHistoryLimit:    ptr.To[int32](2),
			ProgressDeadlineSeconds: ptr.To[int32](600),
			Selector:                &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Strategy:                strategy,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "v1"}}},
			},
		},
	}}
}

func rollingBy(surge, unavailable string) appsv1.DeploymentStrategy {
	return appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge:       ptr.To(intstr.Parse(surge)),
			MaxUnavailable: ptr.To(intstr.Parse(unavailable)),
		},
	}
}

// edit changes the Deployment as a user does.
func (w *world) edit(what string, change func(spec *appsv1.DeploymentSpec)) {
	fmt.Fprintf(&w.log, "-- %s\n", what)
	change(&w.d.Spec)
	w.d.Generation++
}

func (w *world) setImage(image string) {
	w.edit("image "+image, func(spec *appsv1.DeploymentSpec) { spec.Template.Spec.Containers[0].Image = image })
}

func (w *world) scale(replicas int32) {
	w.edit(fmt.Sprintf("scale to %d", replicas), func(spec *appsv1.DeploymentSpec) { *spec.Replicas = replicas })
}

// run takes steps until there is nothing more to do.
func (w *world) run(t *testing.T) {
	for range 50 {
		made := makePlan(observation{deployment: w.d, sets: w.sets, podsOfOld: w.lasting, now: w.now})
		if !w.apply(made) && !w.podsFollow() {
			w.show()
			return
		}
		w.now = w.now.Add(time.Second)
	}
	t.Fatalf("the plans do not come to rest:\n%s", w.log.String())
}

func (w *world) apply(made plan) (acted bool) {
	if rs := made.create; rs != nil {
		rs = rs.DeepCopy()
		rs.UID, rs.CreationTimestamp, rs.Generation = types.UID(rs.Name), metav1.NewTime(w.now), 1
		w.sets = append(w.sets, rs)
		fmt.Fprintf(&w.log, "create %s with %d\n", w.nick(rs), *rs.Spec.Replicas)
	}
	for _, changed := range made.change {
		i := slices.IndexFunc(w.sets, func(rs *appsv1.ReplicaSet) bool { return rs.Name == changed.set.Name })
		w.sets[i] = changed.set
		if *changed.set.Spec.Replicas != changed.from {
			fmt.Fprintf(&w.log, "scale %s from %d to %d\n", w.nick(changed.set), changed.from, *changed.set.Spec.Replicas)
		}
	}
	for _, gone := range made.remove {
		w.sets = slices.DeleteFunc(w.sets, func(rs *appsv1.ReplicaSet) bool { return rs.Name == gone.Name })
		fmt.Fprintf(&w.log, "remove %s\n", w.nick(gone))
	}
	if made.revision != "" {
		metav1.SetMetaDataAnnotation(&w.d.ObjectMeta, revisionAnnotation, made.revision)
	}
	before := w.d.Status
	w.d.Status = made.status
	if after := conditions(&made.status); after != conditions(&before) {
		fmt.Fprintf(&w.log, "status %s\n", after)
	}
	return made.create != nil || len(made.change) > 0 || len(made.remove) > 0 || !apiequality.Semantic.DeepEqual(before, made.status)
}

// podsFollow lets every ReplicaSet have its Pods, ready unless their image is broken.
func (w *world) podsFollow() (moved bool) {
	for _, rs := range w.sets {
		before := rs.Status
		rs.Status = appsv1.ReplicaSetStatus{Replicas: *rs.Spec.Replicas, ObservedGeneration: rs.Generation, TerminatingReplicas: ptr.To[int32](0)}
		if rs.Spec.Template.Spec.Containers[0].Image != w.broken {
			rs.Status.ReadyReplicas, rs.Status.AvailableReplicas = *rs.Spec.Replicas, *rs.Spec.Replicas
		}
		moved = moved || before.Replicas != rs.Status.Replicas || before.AvailableReplicas != rs.Status.AvailableReplicas ||
			before.ObservedGeneration != rs.Status.ObservedGeneration
	}
	return moved
}

func (w *world) nick(rs *appsv1.ReplicaSet) string { return rs.Spec.Template.Spec.Containers[0].Image }

func (w *world) show() {
	fmt.Fprintf(&w.log, "= revision %s, %d replicas, %d updated, %d available, %d unavailable\n", w.d.Annotations[revisionAnnotation],
		w.d.Status.Replicas, w.d.Status.UpdatedReplicas, w.d.Status.AvailableReplicas, w.d.Status.UnavailableReplicas)
	for _, rs := range w.sets {
		fmt.Fprintf(&w.log, "  %s: %d of %d, revision %s", w.nick(rs), rs.Status.AvailableReplicas, *rs.Spec.Replicas, rs.Annotations[revisionAnnotation])
		if history := rs.Annotations[revisionHistoryAnnotation]; history != "" {
			fmt.Fprintf(&w.log, " after %s", history)
		}
		fmt.Fprintf(&w.log, ", desired %s, max %s\n", rs.Annotations[desiredReplicasAnnotation], rs.Annotations[maxReplicasAnnotation])
	}
}

func conditions(status *appsv1.DeploymentStatus) string {
	var shown []string
	for _, c := range status.Conditions {
		shown = append(shown, fmt.Sprintf("%s=%s(%s)", c.Type, c.Status, c.Reason))
	}
	return strings.Join(shown, " ")
}

func TestPlans(t *testing.T) {
	recreate := appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	cases := []struct {
		name     string
		replicas int32
		strategy appsv1.DeploymentStrategy
		play     func(t *testing.T, w *world)
	}{
		{"rolling", 4, rollingBy("25%", "25%"), func(t *testing.T, w *world) {
			w.run(t)
			w.setImage("v2")
			w.run(t)
		}},
		{"rolling-without-surge", 3, rollingBy("0", "1"), func(t *testing.T, w *world) {
			w.run(t)
			w.setImage("v2")
			w.run(t)
		}},
		{"undo", 1, rollingBy("25%", "25%"), func(t *testing.T, w *world) {
			w.run(t)
			w.setImage("v2")
			w.run(t)
			w.setImage("v1")
			w.run(t)
			w.setImage("v2")
			w.run(t)
		}},
		{"history-limit", 1, rollingBy("1", "0"), func(t *testing.T, w *world) {
			for _, image := range []string{"v1", "v2", "v3", "v4", "v5"} {
				w.setImage(image)
				w.run(t)
			}
		}},
		{"stuck", 10, rollingBy("3", "2"), func(t *testing.T, w *world) {
			w.run(t)
			w.broken = "v2"
			w.setImage("v2")
			w.run(t)
			w.now = w.now.Add(11 * time.Minute)
			w.run(t)
			w.setImage("v1")
			w.run(t)
		}},
		{"proportional", 10, rollingBy("3", "2"), func(t *testing.T, w *world) {
			w.run(t)
			w.broken = "v2"
			w.setImage("v2")
			w.run(t)
			w.scale(15)
			w.run(t)
			w.scale(5)
			w.run(t)
		}},
		{"paused", 2, rollingBy("1", "0"), func(t *testing.T, w *world) {
			w.run(t)
			w.edit("pause", func(spec *appsv1.DeploymentSpec) { spec.Paused = true })
			w.setImage("v2")
			w.run(t)
			w.scale(3)
			w.run(t)
			w.edit("resume", func(spec *appsv1.DeploymentSpec) { spec.Paused = false })
			w.run(t)
		}},
		{"recreate", 2, recreate, func(t *testing.T, w *world) {
			w.run(t)
			w.setImage("v2")
			w.lasting = true
			w.run(t)
			w.log.WriteString("-- old Pods end\n")
			w.lasting = false
			w.run(t)
		}},
		{"to-zero-and-back", 2, rollingBy("25%", "25%"), func(t *testing.T, w *world) {
			w.run(t)
			w.scale(0)
			w.run(t)
			w.setImage("v2")
			w.run(t)
			w.scale(3)
			w.run(t)
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(tc.replicas, tc.strategy)
			tc.play(t, w)
			checkGolden(t, filepath.Join("testdata", tc.name+".txt"), w.log.String())
		})
	}
}

func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", path, got, want)
	}
}
