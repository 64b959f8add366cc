package faults

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// badManifests are what learners get wrong, and what `kubelite apply` says, word for word as kubectl with Kubernetes does.
var badManifests = []struct{ name, manifest, want string }{
	{
		"a field that does not exist",
		`{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {container: [{name: a, image: busybox}]}}`,
		`Error from server (BadRequest): error when creating "STDIN": Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.container"`,
	},
	{
		"a text for a number",
		`{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: eighty}]}}`,
		`Error from server (BadRequest): error when creating "STDIN": Service in version "v1" cannot be handled as a Service: json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32`,
	},
	{
		"an API version that does not exist",
		`{apiVersion: apps/v2, kind: Deployment, metadata: {name: d}}`,
		`error: resource mapping not found for name: "d" namespace: "" from "STDIN": no matches for kind "Deployment" in version "apps/v2"` + "\nensure CRDs are installed first",
	},
	{
		"a misspelt kind",
		`{apiVersion: v1, kind: Srevice, metadata: {name: s}}`,
		`error: resource mapping not found for name: "s" namespace: "" from "STDIN": no matches for kind "Srevice" in version "v1"` + "\nensure CRDs are installed first",
	},
	{
		"a kind that is not served",
		`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}}`,
		`error: resource mapping not found for name: "i" namespace: "" from "STDIN": no matches for kind "Ingress" in version "networking.k8s.io/v1"` + "\nensure CRDs are installed first",
	},
	{
		"a port out of range",
		`{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 70000, targetPort: 80}]}}`,
		`The Service "s" is invalid: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive`,
	},
	{
		"a node port out of range",
		`{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}}`,
		`The Service "s" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`,
	},
	{
		"two containers of one name",
		`{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: busybox}, {name: a, image: busybox}]}}`,
		`The Pod "p" is invalid: spec.containers[1].name: Duplicate value: "a"`,
	},
	{
		"two ports without names",
		`{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}, {port: 81}]}}`,
		"The Service \"s\" is invalid: \n* spec.ports[0].name: Required value\n* spec.ports[1].name: Required value",
	},
	{
		"a template that its selector does not match",
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: busybox}]}}}}`,
		"The Deployment \"d\" is invalid: spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
	},
	{
		"a volume that is not there",
		`{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: busybox, volumeMounts: [{name: v, mountPath: /v}]}]}}`,
		`The Pod "p" is invalid: spec.containers[0].volumeMounts[0].name: Not found: "v"`,
	},
	{
		"a namespace that is not there",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: nowhere}}`,
		`Error from server (NotFound): error when creating "STDIN": namespaces "nowhere" not found`,
	},
	{
		"no YAML",
		"kind: Pod\n metadata: {",
		`error: error parsing STDIN: error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context`,
	},
}

// unfit are Pods that cannot run. Each tells why: by its container's reason, and by a warning.
var unfit = []struct{ name, container, volumes, reason, warning string }{
	{"unknown-image", `image: "127.0.0.1:1/no/such:v9"`, "", "ImagePullBackOff", `Failed to pull image "127.0.0.1:1/no/such:v9"`},
	{"bad-image-name", `image: "UPPER/Case:::"`, "", "InvalidImageName", `couldn't parse image name "UPPER/Case:::": invalid reference format`},
	{"no-command", `image: busybox, command: [no-such-command]`, "", "RunContainerError", `exec: "no-such-command": executable file not found in $PATH`},
	{"crash", `image: busybox, command: [sh, -c, "exit 3"]`, "", "CrashLoopBackOff", "Back-off restarting failed container a in pod crash_default"},
	{"no-configmap", `image: busybox, envFrom: [{configMapRef: {name: missing}}]`, "", "CreateContainerConfigError", `configmap "missing" not found`},
	{"no-secret", `image: busybox, env: [{name: A, valueFrom: {secretKeyRef: {name: missing, key: k}}}]`, "", "CreateContainerConfigError", `secret "missing" not found`},
	{"no-directory", `image: busybox, volumeMounts: [{name: v, mountPath: /v}]`, `{name: v, hostPath: {path: /no/such/directory, type: Directory}}`, "ContainerCreating", `MountVolume.SetUp failed for volume "v" : hostPath type check failed: /no/such/directory is not a directory`},
	{"no-such-volume", `image: busybox, volumeMounts: [{name: v, mountPath: /v}]`, `{name: v, nfs: {server: 127.0.0.1, path: /x}}`, "ContainerCreating", "kubelite has no volumes of this kind"},
}

// TestBadInput gives a cluster what it cannot do, and looks at what it says.
func TestBadInput(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	room := startRoom(ctx, t, "badinput")

	var pods strings.Builder
	for _, pod := range unfit {
		pods.WriteString("---\n{apiVersion: v1, kind: Pod, metadata: {name: " + pod.name + "}, spec: {terminationGracePeriodSeconds: 0, volumes: [" +
			pod.volumes + "], containers: [{name: a, " + pod.container + "}]}}\n")
	}
	pods.WriteString("---\n{apiVersion: v1, kind: Service, metadata: {name: lonely}, spec: {selector: {app: nobody}, ports: [{port: 80}]}}\n")
	if err := room.Apply(ctx, pods.String()); err != nil {
		t.Fatal(err)
	}
	for _, test := range badManifests {
		t.Run(test.name, func(t *testing.T) {
			command := exec.CommandContext(ctx, room.Binary(), "apply", "-f", "-")
			command.Env = room.Environment
			command.Stdin = strings.NewReader(test.manifest)
			output, err := command.CombinedOutput()
			if err == nil || strings.TrimSpace(string(output)) != test.want {
				t.Errorf("%v: it says\n%s\nwant\n%s", err, output, test.want)
			}
		})
	}
	for _, pod := range unfit {
		t.Run(pod.name, func(t *testing.T) {
			waitForText(ctx, t, pod.reason, func(out io.Writer) error {
				return room.Kubelite(ctx, out, "get", "pod", pod.name)
			})
			waitForText(ctx, t, pod.warning, func(out io.Writer) error {
				return room.Kubelite(ctx, out, "describe", "pod", pod.name)
			})
		})
	}
	t.Run("a selector that matches nothing", func(t *testing.T) {
		waitForText(ctx, t, "lonely   <none>", func(out io.Writer) error {
			return room.Kubelite(ctx, out, "get", "endpoints", "lonely")
		})
	})
}

// waitForText waits until a command says the text.
func waitForText(ctx context.Context, t *testing.T, want string, say func(io.Writer) error) {
	t.Helper()
	for {
		var said strings.Builder
		err := say(&said)
		if err == nil && strings.Contains(said.String(), want) {
			return
		}
		if !pause(ctx) {
			t.Fatalf("%v: it says\n%s\nwant\n%s", err, said.String(), want)
		}
	}
}
