package apiserver

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

var updateGolden = flag.Bool("update", false, "write the golden files")

// spec is the spec of a Service as a client writes it: only what it says.
type spec = map[string]any

// serviceTypes are the types, and what makes a difference in them.
func serviceTypes() map[string]spec {
	ports := []any{map[string]any{"name": "http", "port": 80}}
	return map[string]spec{
		"ClusterIP":     {"type": "ClusterIP", "ports": ports},
		"Headless":      {"type": "ClusterIP", "clusterIP": "None", "selector": map[string]any{"app": "web"}, "ports": ports},
		"NodePort":      {"type": "NodePort", "ports": ports},
		"LoadBalancer":  {"type": "LoadBalancer", "loadBalancerClass": "example.com/a", "ports": ports},
		"LBLocal":       {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports},
		"LBNoNodePorts": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports},
		"ExternalName":  {"type": "ExternalName", "externalName": "example.com"},
	}
}

// The allocated values that a change of type asks for: the current ones, none, or others.
const (
	otherClusterIP  = "10.96.0.250"
	otherNodePort   = 30040
	otherHealthPort = 30041
)

func sentValues(wanted spec, current *corev1.Service) map[string]spec {
	with := func(add spec) spec {
		sent := maps.Clone(wanted)
		maps.Copy(sent, add)
		return sent
	}
	port := func(number int32) []any { return []any{map[string]any{"name": "http", "port": 80, "nodePort": number}} }
	cases := map[string]spec{
		"omitted":               wanted,
		"other clusterIP":       with(spec{"clusterIP": otherClusterIP}),
		"other nodePort":        with(spec{"ports": port(otherNodePort)}),
		"other health port":     with(spec{"healthCheckNodePort": otherHealthPort}),
		"other class":           with(spec{"loadBalancerClass": "example.com/b"}),
		"node ports turned off": with(spec{"allocateLoadBalancerNodePorts": false}),
	}
	same := spec{}
	if current.Spec.ClusterIP != "" {
		same["clusterIP"], same["clusterIPs"] = current.Spec.ClusterIP, current.Spec.ClusterIPs
	}
	if len(current.Spec.Ports) > 0 && current.Spec.Ports[0].NodePort != 0 {
		same["ports"] = port(current.Spec.Ports[0].NodePort)
	}
	if current.Spec.HealthCheckNodePort != 0 {
		same["healthCheckNodePort"] = current.Spec.HealthCheckNodePort
	}
	cases["same"] = with(same)
	return cases
}

// TestServiceTypeChanges takes a Service of each type to each other in each way, and compares what it keeps, frees and gets with a
// file: the answers of kube-apiserver 1.37 to the same requests.
func TestServiceTypeChanges(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/json")
	var lines []string
	all := serviceTypes()
	for _, from := range slices.Sorted(maps.Keys(all)) {
		for _, to := range slices.Sorted(maps.Keys(all)) {
			lines = append(lines, changeServiceType(t, client, all[from], all[to], from+" -> "+to)...)
		}
	}
	path := filepath.Join("testdata", "service_types.txt")
	got := strings.Join(lines, "\n") + "\n"
	if *updateGolden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
		if i >= len(lines) || lines[i] != line {
			t.Errorf("line %d of %s is\n%s\nwant\n%s", i+1, path, strings.Join(lines[min(i, len(lines)):min(i+1, len(lines))], ""), line)
		}
	}
	equalNames(t, "addresses left over", addressNames(t, client), nil)
}

// changeServiceType makes a Service anew for each way of changing it, and returns a line for each.
func changeServiceType(t *testing.T, client kubernetes.Interface, from, to spec, name string) (lines []string) {
	t.Helper()
	services := client.CoreV1().Services("default")
	manifest := func(content spec) []byte {
		meta := map[string]any{"name": "web", "namespace": "default"}
		data, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": content})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	apply := metav1.PatchOptions{FieldManager: "test", Force: ptr.To(true)}
	for _, way := range []string{"apply", "patch", "put"} {
		for _, sent := range slices.Sorted(maps.Keys(sentValues(to, &corev1.Service{}))) {
			before, err := services.Patch(t.Context(), "web", types.ApplyPatchType, manifest(from), apply)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			content := sentValues(to, before)[sent]
			var after *corev1.Service
			switch way {
			case "apply":
				after, err = services.Patch(t.Context(), "web", types.ApplyPatchType, manifest(content), apply)
			case "patch":
				after, err = services.Patch(t.Context(), "web", types.MergePatchType, manifest(content), metav1.PatchOptions{})
			case "put":
				body := client.CoreV1().RESTClient().Put().Namespace("default").Resource("services").Name("web").Body(manifest(content))
				after = &corev1.Service{}
				err = body.SetHeader("Content-Type", "application/json").Do(t.Context()).Into(after)
			}
			lines = append(lines, fmt.Sprintf("%s, %s, %s: %s", name, way, sent, changeText(before, after, err)))
			if err := services.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return lines
}

// changeText says what became of the allocated values and of the fields that go with types.
func changeText(before, after *corev1.Service, err error) string {
	hide := func(text string) string {
		for _, ip := range before.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone {
				text = strings.ReplaceAll(text, ip, "IP")
			}
		}
		return text
	}
	if err != nil {
		return hide(err.Error())
	}
	value := func(old, now, asked string) string {
		switch now {
		case "", "0":
			return "-"
		case corev1.ClusterIPNone, asked:
			return now
		case old:
			return "kept"
		}
		return "new"
	}
	nodePort := func(service *corev1.Service) string {
		if len(service.Spec.Ports) == 0 {
			return ""
		}
		return fmt.Sprint(service.Spec.Ports[0].NodePort)
	}
	was, now := &before.Spec, &after.Spec
	return fmt.Sprintf("clusterIP %s, nodePort %s, health %s, class %s, allocate %s, external %s, internal %s, families %v %s",
		value(was.ClusterIP, now.ClusterIP, otherClusterIP), value(nodePort(before), nodePort(after), fmt.Sprint(otherNodePort)),
		value(fmt.Sprint(was.HealthCheckNodePort), fmt.Sprint(now.HealthCheckNodePort), fmt.Sprint(otherHealthPort)),
		ptr.Deref(now.LoadBalancerClass, "-"), allocateText(now.AllocateLoadBalancerNodePorts), orDash(string(now.ExternalTrafficPolicy)),
		ptr.Deref(now.InternalTrafficPolicy, "-"), now.IPFamilies, ptr.Deref(now.IPFamilyPolicy, "-"))
}

func allocateText(allocate *bool) string {
	if allocate == nil {
		return "-"
	}
	return fmt.Sprint(*allocate)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
