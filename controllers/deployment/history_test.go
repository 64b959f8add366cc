package deployment

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestAnnotated(t *testing.T) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		"note":                             "mine",
		revisionAnnotation:                 "9",
		corev1.LastAppliedConfigAnnotation: "{}",
	}}}
	cases := []struct {
		name     string
		current  map[string]string
		revision int64
		want     map[string]string
	}{
		{"new", nil, 1, map[string]string{"note": "mine", revisionAnnotation: "1"}},
		{"kept", map[string]string{revisionAnnotation: "3"}, 2, map[string]string{"note": "mine", revisionAnnotation: "3"}},
		{"rolled back to", map[string]string{revisionAnnotation: "1"}, 3,
			map[string]string{"note": "mine", revisionAnnotation: "3", revisionHistoryAnnotation: "1"}},
		{"rolled back to again", map[string]string{revisionAnnotation: "3", revisionHistoryAnnotation: "1"}, 5,
			map[string]string{"note": "mine", revisionAnnotation: "5", revisionHistoryAnnotation: "1,3"}},
		{"nonsense", map[string]string{revisionAnnotation: "x"}, 2, map[string]string{"note": "mine", revisionAnnotation: "x"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got := annotated(d, tc.current, tc.revision)
			if len(got) != len(tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			for name, value := range tc.want {
				if got[name] != value {
					t.Errorf("%s is %q, want %q", name, got[name], value)
				}
			}
		})
	}
}

func TestTemplateHash(t *testing.T) {
	template := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "b"}}}}
	plain := templateHash(template, nil)
	if plain != templateHash(template.DeepCopy(), nil) {
		t.Error("equal templates have different hashes")
	}
	if collided := templateHash(template, ptr.To[int32](1)); collided == plain {
		t.Errorf("a collision does not change the hash %s", collided)
	}
	other := template.DeepCopy()
	other.Spec.Containers[0].Image = "c"
	if templateHash(other, nil) == plain {
		t.Errorf("different templates have the hash %s", plain)
	}
}

func TestSameTemplate(t *testing.T) {
	a := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}}
	b := a.DeepCopy()
	b.Labels[hashLabel] = "abc"
	if !sameTemplate(a, b) {
		t.Error("the hash label makes a difference")
	}
	b.Labels["tier"] = "front"
	if sameTemplate(a, b) {
		t.Error("another label makes no difference")
	}
}
