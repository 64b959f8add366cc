package nodelifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testNode(ready corev1.ConditionStatus, taints ...corev1.Taint) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Spec: corev1.NodeSpec{Taints: taints}}
	if ready != "" {
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, Reason: "KubeletReady"}}
	}
	return node
}

func TestWantedTaints(t *testing.T) {
	theirs := corev1.Taint{Key: "dedicated", Value: "gpu", Effect: corev1.TaintEffectNoSchedule}
	notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute}
	cordoned := testNode(corev1.ConditionTrue)
	cordoned.Spec.Unschedulable = true
	tests := map[string]struct {
		node *corev1.Node
		want string
	}{
		"ready":             {testNode(corev1.ConditionTrue), ""},
		"ready again":       {testNode(corev1.ConditionTrue, notReady, theirs), "dedicated:NoSchedule"},
		"not ready":         {testNode(corev1.ConditionFalse), "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute"},
		"not ready already": {testNode(corev1.ConditionFalse, notReady), "node.kubernetes.io/not-ready:NoExecute node.kubernetes.io/not-ready:NoSchedule"},
		"silent":            {testNode(corev1.ConditionUnknown, notReady), "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"},
		"new":               {testNode(""), "node.kubernetes.io/not-ready:NoSchedule"},
		"cordoned":          {cordoned, "node.kubernetes.io/unschedulable:NoSchedule"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var words []string
			for _, taint := range wantedTaints(test.node, metav1.NewTime(now)) {
				words = append(words, taint.Key+":"+string(taint.Effect))
			}
			if got := strings.Join(words, " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAllowedStay(t *testing.T) {
	unreachable := corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute, TimeAdded: ptr.To(metav1.NewTime(now))}
	other := corev1.Taint{Key: "k", Value: "v", Effect: corev1.TaintEffectNoExecute, TimeAdded: ptr.To(metav1.NewTime(now))}
	noSchedule := corev1.Taint{Key: "k", Effect: corev1.TaintEffectNoSchedule}
	forSeconds := func(key string, seconds int64) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds}
	}
	all := corev1.Toleration{Operator: corev1.TolerationOpExists}
	tests := map[string]struct {
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		want        string
	}{
		"no taint":                   {nil, nil, "for ever"},
		"no NoExecute taint":         {[]corev1.Taint{noSchedule}, nil, "for ever"},
		"not tolerated":              {[]corev1.Taint{unreachable}, nil, "0s"},
		"tolerated":                  {[]corev1.Taint{unreachable}, []corev1.Toleration{all}, "for ever"},
		"for five minutes":           {[]corev1.Taint{unreachable}, []corev1.Toleration{forSeconds(unreachable.Key, 300)}, "5m0s"},
		"the shorter one":            {[]corev1.Taint{unreachable}, []corev1.Toleration{all, forSeconds(unreachable.Key, 300), forSeconds(unreachable.Key, 30)}, "30s"},
		"two taints":                 {[]corev1.Taint{unreachable, other}, []corev1.Toleration{forSeconds(unreachable.Key, 300), forSeconds("k", 10)}, "10s"},
		"one of two taints":          {[]corev1.Taint{unreachable, other}, []corev1.Toleration{forSeconds(unreachable.Key, 300)}, "0s"},
		"a negative time is no time": {[]corev1.Taint{unreachable}, []corev1.Toleration{forSeconds(unreachable.Key, -1)}, "0s"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			stay := allowedStay(test.taints, &corev1.Pod{Spec: corev1.PodSpec{Tolerations: test.tolerations}}, now)
			got := fmt.Sprint(stay.until.Sub(now))
			if stay.forever {
				got = "for ever"
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestStayOfALatecomer(t *testing.T) {
	taint := corev1.Taint{Key: "k", Effect: corev1.TaintEffectNoExecute, TimeAdded: ptr.To(metav1.NewTime(now.Add(-time.Hour)))}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists, TolerationSeconds: ptr.To[int64](60)}}}}
	pod.CreationTimestamp = metav1.NewTime(now.Add(-50 * time.Second))
	if left := allowedStay([]corev1.Taint{taint}, pod, now).until.Sub(now); left != 10*time.Second {
		t.Errorf("50 s after it was made it has %s left, want 10s", left)
	}
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-20 * time.Second)),
	}}
	if left := allowedStay([]corev1.Taint{taint}, pod, now).until.Sub(now); left != 40*time.Second {
		t.Errorf("20 s after it was bound it has %s left, want 40s", left)
	}
}

func TestUndatedTaintsCountFromWhenTheyWereSeen(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(now)
	c := &Controller{clock: clock, undated: map[string]map[corev1.Taint]time.Time{}}
	tainted, clean := testNode(corev1.ConditionTrue), testNode(corev1.ConditionTrue)
	tainted.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute}, {Key: "k", Effect: corev1.TaintEffectNoSchedule}}
	c.noteTaints(tainted)
	clock.SetTime(now.Add(time.Minute))
	c.noteTaints(tainted)
	taints := c.dated(tainted)
	if taints[0].TimeAdded == nil || !taints[0].TimeAdded.Time.Equal(now) || taints[1].TimeAdded != nil {
		t.Errorf("got %v, want the first taint as of %v, and no time of the second", taints, now)
	}
	c.noteTaints(clean)
	c.noteTaints(tainted)
	if taints := c.dated(tainted); !taints[0].TimeAdded.Time.Equal(clock.Now()) {
		t.Errorf("a taint that was away counts from %v, want %v", taints[0].TimeAdded, clock.Now())
	}
	if tainted.Spec.Taints[0].TimeAdded != nil {
		t.Error("the Node itself was changed")
	}
}

func TestUnknownConditions(t *testing.T) {
	changed := unknownConditions(testNode(corev1.ConditionTrue), metav1.NewTime(now))
	if len(changed) != 4 || changed[0].Reason != "NodeStatusUnknown" || changed[0].Message != "Kubelet stopped posting node status." ||
		changed[1].Reason != "NodeStatusNeverUpdated" {
		t.Errorf("got %+v", changed)
	}
	node := testNode("")
	node.Status.Conditions = changed
	if again := unknownConditions(node, metav1.NewTime(now)); len(again) != 0 {
		t.Errorf("written again: %+v", again)
	}
}
