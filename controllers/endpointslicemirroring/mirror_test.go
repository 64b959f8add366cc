//lint:file-ignore SA1019 Endpoints are deprecated, and served: they are what this package is about.

package endpointslicemirroring

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMembersOf(t *testing.T) {
	endpoints := &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{
		Addresses:         []corev1.EndpointAddress{{IP: "192.168.1.10", Hostname: "laptop"}, {IP: "fd00::1"}, {IP: "x"}},
		NotReadyAddresses: []corev1.EndpointAddress{{IP: "192.168.1.11"}},
		Ports:             []corev1.EndpointPort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}},
	}}}
	members, skipped, invalid := membersOf(endpoints)
	got := ""
	for _, member := range members {
		got += fmt.Sprintln(member.AddressType, member.Endpoint.Addresses[0], *member.Endpoint.Conditions.Ready, *member.Ports[0].Port)
	}
	want := "IPv4 192.168.1.10 true 80\nIPv6 fd00::1 true 80\nIPv4 192.168.1.11 false 80\n"
	if got != want || skipped != 0 || invalid != 1 || *members[0].Endpoint.Hostname != "laptop" {
		t.Errorf("got %s%d skipped, %d invalid", got, skipped, invalid)
	}
	endpoints.Subsets[0].Addresses = make([]corev1.EndpointAddress, limit)
	for i := range endpoints.Subsets[0].Addresses {
		endpoints.Subsets[0].Addresses[i].IP = fmt.Sprintf("10.0.%d.%d", i/256, i%256)
	}
	if members, skipped, _ := membersOf(endpoints); len(members) != limit || skipped != 1 {
		t.Errorf("%d of %d, %d skipped", len(members), limit+1, skipped)
	}
}

func TestMirrored(t *testing.T) {
	for name, test := range map[string]struct {
		meta metav1.ObjectMeta
		want bool
	}{
		"plain":           {metav1.ObjectMeta{}, true},
		"told to skip":    {metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}}, false},
		"leader election": {metav1.ObjectMeta{Annotations: map[string]string{leaderAnnotation: "{}"}}, false},
	} {
		if got := mirrored(&corev1.Endpoints{ObjectMeta: test.meta}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
