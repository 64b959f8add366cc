package nodelifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
			stay := allowedStay(test.taints, test.tolerations, now)
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
