package environment

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

var update = flag.Bool("update", false, "rewrite the goldens")

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		value, known := map[string]string{"A": "1", "EMPTY": ""}[name]
		return value, known
	}
	for text, want := range map[string]string{
		"plain": "plain", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$(EMPTY)": "", "$(B)": "$(B)", "$$(A)": "$(A)", "$$$(A)": "$1",
		"$A": "$A", "$(A": "$(A", "$": "$", "a$": "a$", "$$": "$", "$()": "$()",
	} {
		if got := Expand(text, lookup); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// source has one ConfigMap and one Secret.
type source struct{}

func (source) ConfigMap(_ context.Context, namespace, name string) (*v1.ConfigMap, error) {
	if name != "settings" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmap"}, name)
	}
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Data: map[string]string{"colour": "blue", "size": "big"}}, nil
}

func (source) Secret(_ context.Context, namespace, name string) (*v1.Secret, error) {
	if name != "password" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secret"}, name)
	}
	return &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Data: map[string][]byte{"word": []byte("hush")}}, nil
}

func services() []*v1.Service {
	port := func(name string, number int32, protocol v1.Protocol) v1.ServicePort {
		return v1.ServicePort{Name: name, Port: number, Protocol: protocol}
	}
	service := func(namespace, name, ip string, age int64, ports ...v1.ServicePort) *v1.Service {
		return &v1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(time.Unix(age, 0))},
			Spec:       v1.ServiceSpec{ClusterIP: ip, Ports: ports},
		}
	}
	return []*v1.Service{
		service("default", "kubernetes", "10.96.0.1", 1, port("https", 443, v1.ProtocolTCP)),
		service("shop", "numbers-api", "10.96.3.4", 3, port("http", 80, v1.ProtocolTCP), port("dns", 53, v1.ProtocolUDP)),
		service("shop", "headless", v1.ClusterIPNone, 2, port("", 80, v1.ProtocolTCP)),
		service("other", "far", "10.96.9.9", 2, port("", 80, v1.ProtocolTCP)),
	}
}

func TestServiceVariables(t *testing.T) {
	var out strings.Builder
	for _, links := range []string{"links", "no links"} {
		out.WriteString("# " + links + "\n")
		for _, variable := range ServiceVariables(services(), "shop", links == "links") {
			out.WriteString(variable.Name + "=" + variable.Value + "\n")
		}
	}
	golden := filepath.Join("testdata", "services.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || out.String() != string(want) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestVariables(t *testing.T) {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a/b": "c"}},
		Spec:       v1.PodSpec{ServiceAccountName: "robot", EnableServiceLinks: ptr.To(false)},
	}
	facts := Facts{PodIPs: []string{"10.244.0.9"}, HostIPs: []string{"192.168.1.2"}, NodeName: "node-1",
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("3"), v1.ResourceMemory: resource.MustParse("1Gi")}}
	field := func(path string) *v1.EnvVarSource {
		return &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: path}}
	}
	key := func(name, key string, optional bool) *v1.EnvVarSource {
		return &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: name}, Key: key, Optional: &optional}}
	}
	secret := func(name, key string) *v1.EnvVarSource {
		return &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: name}, Key: key}}
	}
	quantity := func(name, divisor string) *v1.EnvVarSource {
		selector := &v1.ResourceFieldSelector{Resource: name}
		if divisor != "" {
			selector.Divisor = resource.MustParse(divisor)
		}
		return &v1.EnvVarSource{ResourceFieldRef: selector}
	}
	for _, test := range []struct {
		name    string
		from    []v1.EnvFromSource
		env     []v1.EnvVar
		want    string
		failure string
	}{
		{name: "literals and references to earlier ones", env: []v1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "$(A)-$(C)"}, {Name: "C", Value: "2"}}, want: "A=1 B=1-$(C) C=2"},
		{name: "fields", env: []v1.EnvVar{{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")}, {Name: "SA", ValueFrom: field("spec.serviceAccountName")}}, want: "IP=10.244.0.9 NODE=node-1 APP=x SA=robot"},
		{name: "resources", env: []v1.EnvVar{{Name: "CPU", ValueFrom: quantity("limits.cpu", "")}, {Name: "MEM", ValueFrom: quantity("limits.memory", "1Mi")},
			{Name: "REQ", ValueFrom: quantity("requests.cpu", "1m")}}, want: "CPU=3 MEM=1024 REQ=250"},
		{name: "keys", env: []v1.EnvVar{{Name: "C", ValueFrom: key("settings", "colour", false)}, {Name: "S", ValueFrom: secret("password", "word")},
			{Name: "NONE", ValueFrom: key("nowhere", "x", true)}, {Name: "NOKEY", ValueFrom: key("settings", "x", true)}}, want: "C=blue S=hush"},
		{name: "all keys", from: []v1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}}},
			env: []v1.EnvVar{{Name: "P_size", Value: "small"}}, want: "P_colour=blue P_size=small"},
		{name: "no configmap", env: []v1.EnvVar{{Name: "C", ValueFrom: key("nowhere", "x", false)}}, failure: `configmap "nowhere" not found`},
		{name: "no key", env: []v1.EnvVar{{Name: "C", ValueFrom: key("settings", "x", false)}}, failure: "couldn't find key x in ConfigMap shop/settings"},
		{name: "no secret", env: []v1.EnvVar{{Name: "C", ValueFrom: secret("nowhere", "x")}}, failure: `secret "nowhere" not found`},
		{name: "no secret key", env: []v1.EnvVar{{Name: "C", ValueFrom: secret("password", "x")}}, failure: "couldn't find key x in Secret shop/password"},
		{name: "no such field", env: []v1.EnvVar{{Name: "C", ValueFrom: field("status.phase")}}, failure: "unsupported fieldPath: status.phase"},
	} {
		t.Run(test.name, func(t *testing.T) {
			container := &v1.Container{Name: "c", Env: test.env, EnvFrom: test.from,
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m")}}}
			variables, err := Variables(t.Context(), pod, container, nil, source{}, facts)
			var words []string
			for _, variable := range variables {
				words = append(words, variable.Name+"="+variable.Value)
			}
			failure := ""
			if err != nil {
				failure = err.Error()
			}
			if got := strings.Join(words, " "); got != test.want || failure != test.failure {
				t.Errorf("got %q, %q\nwant %q, %q", got, failure, test.want, test.failure)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	variables := []v1.EnvVar{{Name: "A", Value: "1"}}
	for _, test := range []struct {
		name                           string
		command, args, entrypoint, cmd []string
		want                           []string
	}{
		{"the image's", nil, nil, []string{"/e"}, []string{"c"}, []string{"/e", "c"}},
		{"args replace cmd", nil, []string{"$(A)"}, []string{"/e", "$(A)"}, []string{"c"}, []string{"/e", "$(A)", "1"}},
		{"command replaces both", []string{"/x"}, nil, []string{"/e"}, []string{"c"}, []string{"/x"}},
		{"both", []string{"/x"}, []string{"y"}, []string{"/e"}, []string{"c"}, []string{"/x", "y"}},
	} {
		got, err := Arguments(&v1.Container{Command: test.command, Args: test.args}, variables, test.entrypoint, test.cmd)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, %v", test.name, got, err)
		}
	}
	if _, err := Arguments(&v1.Container{}, nil, nil, nil); err != ErrNoCommand {
		t.Errorf("got %v", err)
	}
}
