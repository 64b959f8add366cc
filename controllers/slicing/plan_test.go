package slicing

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func testOwner() Owner {
	return Owner{
		Namespace: "default", Name: "web", Limit: 3, Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		Reference: metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "web", UID: "uid"},
		Required:  []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4},
	}
}

func endpoint(address string) discoveryv1.Endpoint {
	ready := !strings.HasSuffix(address, "!")
	return discoveryv1.Endpoint{Addresses: []string{strings.TrimSuffix(address, "!")}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

// members reads "8080:a,b! 9090:c": endpoints by port; a mark says that one is not ready.
func members(text string) []Member {
	var all []Member
	for _, group := range strings.Fields(text) {
		port, addresses, _ := strings.Cut(group, ":")
		for address := range strings.SplitSeq(addresses, ",") {
			all = append(all, Member{AddressType: discoveryv1.AddressTypeIPv4, Ports: ports(port), Endpoint: endpoint(address)})
		}
	}
	return all
}

func ports(text string) []discoveryv1.EndpointPort {
	if text == "" {
		return nil
	}
	var number int32
	fmt.Sscan(text, &number)
	return []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: &number}}
}

// existing reads "s1=8080:a,b s2=:" as slices by name; a name with a star is another Service's.
func existing(text string) []*discoveryv1.EndpointSlice {
	owner := testOwner()
	var all []*discoveryv1.EndpointSlice
	for _, word := range strings.Fields(text) {
		name, group, _ := strings.Cut(word, "=")
		port, addresses, _ := strings.Cut(group, ":")
		slice := owner.newSlice(discoveryv1.AddressTypeIPv4, ports(port))
		slice.Name = name
		if strings.HasSuffix(name, "*") {
			slice.OwnerReferences[0].UID = "another"
		}
		for address := range strings.SplitSeq(addresses, ",") {
			if address != "" {
				slice.Endpoints = append(slice.Endpoints, endpoint(address))
			}
		}
		all = append(all, slice)
	}
	return all
}

func text(action string, all []*discoveryv1.EndpointSlice) string {
	var words []string
	for _, slice := range all {
		port := ""
		if len(slice.Ports) > 0 {
			port = fmt.Sprint(*slice.Ports[0].Port)
		}
		var addresses []string
		for _, endpoint := range slice.Endpoints {
			mark := ""
			if !*endpoint.Conditions.Ready {
				mark = "!"
			}
			addresses = append(addresses, endpoint.Addresses[0]+mark)
		}
		words = append(words, fmt.Sprintf("%s %s=%s:%s", action, slice.Name, port, strings.Join(addresses, ",")))
	}
	slices.Sort(words)
	return strings.Join(words, "; ")
}

func TestPlan(t *testing.T) {
	tests := map[string]struct{ existing, members, want string }{
		"nothing yet":                     {"", "8080:a,b", "create =8080:a,b"},
		"nothing wanted":                  {"", "", "create =:"},
		"nothing changed":                 {"s1=8080:a,b", "8080:a,b", ""},
		"another order":                   {"s1=8080:a,b", "8080:b,a", ""},
		"the placeholder stays":           {"s1=:", "", ""},
		"the placeholder is used":         {"s1=:", "8080:a", "update s1=8080:a"},
		"the last one goes":               {"s1=8080:a", "", "update s1=:"},
		"one becomes unready":             {"s1=8080:a,b", "8080:a!,b", "update s1=8080:a!,b"},
		"one more":                        {"s1=8080:a", "8080:a,b", "update s1=8080:a,b"},
		"more than fit":                   {"", "8080:a,b,c,d", "create =8080:a,b,c; create =8080:d"},
		"one more than fits":              {"s1=8080:a,b,c", "8080:a,b,c,d", "create =8080:d"},
		"the fullest that takes it":       {"s1=8080:a s2=8080:b,c", "8080:a,b,c,d", "update s2=8080:b,c,d"},
		"a new one, and one for the rest": {"s1=8080:a", "8080:a,b,c,d,e,f", "create =8080:b,c,d; update s1=8080:a,e,f"},
		"a changed slice first":           {"s1=8080:a,x s2=8080:b,c", "8080:a,b,c,d", "update s1=8080:a,d"},
		"one that is in two slices":       {"s1=8080:a s2=8080:a,b", "8080:a,b", "update s2=8080:b"},
		"an empty slice goes":             {"s1=8080:a s2=8080:b", "8080:a", "delete s2=8080:b"},
		"another port":                    {"s1=8080:a", "9090:a", "update s1=9090:a"},
		"two ports":                       {"s1=8080:a", "8080:a 9090:b", "create =9090:b"},
		"a former Service's slice":        {"s1*=8080:a", "8080:a", "create =8080:a; delete s1*=8080:a"},
		"all of one of two ports gone":    {"s1=8080:a s2=9090:b", "8080:a", "delete s2=9090:b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			changes := Plan(testOwner(), members(test.members), existing(test.existing))
			var words []string
			for _, part := range []string{text("create", changes.Create), text("update", changes.Update), text("delete", changes.Delete)} {
				if part != "" {
					words = append(words, part)
				}
			}
			if got := strings.Join(words, "; "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestPlanWritesLabelsAndAnnotations(t *testing.T) {
	owner := testOwner()
	owner.Annotations = map[string]string{"a": "b"}
	changes := Plan(owner, members("8080:a"), existing("s1=8080:a"))
	if len(changes.Update) != 1 || changes.Update[0].Annotations["a"] != "b" {
		t.Fatalf("annotations are not written: %+v", changes)
	}
	owner.Labels = map[string]string{"c": "d"}
	changes = Plan(owner, members("8080:a"), changes.Update)
	if len(changes.Update) != 1 || changes.Update[0].Labels["c"] != "d" {
		t.Fatalf("labels are not written: %+v", changes)
	}
	if changes = Plan(owner, members("8080:a"), changes.Update); !changes.Empty() {
		t.Errorf("written again: %+v", changes)
	}
}
