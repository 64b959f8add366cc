package apiserver

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func stringReader(text string) io.Reader { return strings.NewReader(text) }

// sleepDeployment is a manifest as the textbooks write it.
const sleepDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: sleep-1
spec:
  selector:
    matchLabels:
      app: sleep-1
  template:
    metadata:
      labels:
        app: sleep-1
    spec:
      containers:
        - name: sleep
          image: kiamol/ch03-sleep
`

const sleepPod = `
apiVersion: v1
kind: Pod
metadata:
  name: sleep
spec:
  containers:
    - name: sleep
      image: kiamol/ch03-sleep
`

// kubectlStep is one command of a walk with the stock kubectl and what it must print.
type kubectlStep struct {
	stdin   string
	command string
	want    string // part of the output
	fails   bool
}

func (s *testServer) walk(t *testing.T, steps []kubectlStep) {
	t.Helper()
	for _, step := range steps {
		output, err := s.kubectl(t, step.stdin, fieldsOf(step.command)...)
		if (err != nil) != step.fails {
			t.Errorf("kubectl %s: error %v\n%s", step.command, err, output)
		}
		if !strings.Contains(output, step.want) {
			t.Errorf("kubectl %s printed no %q:\n%s", step.command, step.want, output)
		}
	}
}

// fieldsOf splits a command at blanks, but not inside single quotes.
func fieldsOf(command string) []string {
	var arguments []string
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			arguments = append(arguments, part)
		} else {
			arguments = append(arguments, strings.Fields(part)...)
		}
	}
	return arguments
}

func TestKubectl(t *testing.T) {
	server := startServer(t, t.TempDir())
	editor := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\nsed -i 's/replicas: 3/replicas: 4/' \"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDITOR", editor)
	wrong := strings.Replace(sleepDeployment, "          image:", "          imag:", 1)
	server.walk(t, []kubectlStep{
		{command: "get namespaces", want: "kube-node-lease"},
		{command: "version", want: "Server Version: v1.37.2+kubelite"},
		{command: "get svc", want: "10.96.0.1    <none>        443/TCP"},
		{command: "get endpoints kubernetes", want: "192.168.1.1:6443"},
		{command: "api-resources", want: "deploy       apps/v1"},
		{command: "api-versions", want: "discovery.k8s.io/v1"},
		{command: "explain pod.spec.containers", want: "FIELD: containers <[]Container>"},
		{command: "explain deploy.spec.strategy.rollingUpdate.maxSurge", want: "maxSurge <IntOrString>"},
		{stdin: wrong, command: "apply -f -", want: `strict decoding error: unknown field "spec.template.spec.containers[0].imag"`, fails: true},
		{stdin: sleepDeployment, command: "apply --dry-run=server -f -", want: "deployment.apps/sleep-1 created (server dry run)"},
		{command: "get deploy", want: "No resources found in default namespace."},
		{stdin: sleepDeployment, command: "diff -f -", want: "+  name: sleep-1", fails: true},
		{stdin: sleepDeployment, command: "apply -f -", want: "deployment.apps/sleep-1 created"},
		{stdin: sleepDeployment, command: "apply -f -", want: "deployment.apps/sleep-1 unchanged"},
		{stdin: strings.Replace(sleepDeployment, "ch03-sleep", "ch03-sleep:v2", 1), command: "apply -f -", want: "deployment.apps/sleep-1 configured"},
		{stdin: sleepDeployment, command: "create -f -", want: `Error from server (AlreadyExists): error when creating "STDIN": deployments.apps "sleep-1" already exists`, fails: true},
		{command: "get deploy -o wide", want: "kiamol/ch03-sleep:v2"},
		{command: "get deploy sleep-1 -o yaml", want: "progressDeadlineSeconds: 600"},
		{command: "get deploy sleep-1 -o jsonpath={.spec.replicas}", want: "1"},
		{command: "get deploy -o custom-columns=NAME:.metadata.name", want: "sleep-1"},
		{command: "describe deploy sleep-1", want: "RollingUpdateStrategy:  25% max unavailable, 25% max surge"},
		{command: "label deploy sleep-1 tier=front", want: "labeled"},
		{command: "get deploy -l tier=front", want: "sleep-1"},
		{command: "get deploy -l tier=back", want: "No resources found"},
		{command: "annotate deploy sleep-1 a=b", want: "annotated"},
		{command: "scale deploy sleep-1 --replicas=3", want: "scaled"},
		{command: "edit deploy sleep-1", want: "edited"},
		{command: "get deploy sleep-1 -o jsonpath={.spec.replicas}", want: "4"},
		{command: "set image deploy/sleep-1 sleep=busybox", want: "image updated"},
		{command: `patch deploy sleep-1 -p '{"spec":{"template":{"spec":{"containers":[{"name":"sleep","image":"nginx"}]}}}}'`, want: "patched"},
		{command: `patch deploy sleep-1 --type=json -p '[{"op":"replace","path":"/spec/replicas","value":2}]'`, want: "patched"},
		{command: `patch deploy sleep-1 --type=merge -p '{"metadata":{"labels":{"tier":null}}}'`, want: "patched"},
		{command: `patch deploy sleep-1 --type=json -p '[{"op":"remove","path":"/spec/nothing"}]'`, want: "the server rejected our request due to an error in our request", fails: true},
		{command: "get deploy sleep-1 --show-labels", want: "<none>"},
		{command: "wait deploy sleep-1 --for=jsonpath={.spec.replicas}=2 --timeout=5s", want: "condition met"},
		{stdin: sleepDeployment, command: "apply --server-side -f -", want: "conflict with", fails: true},
		{stdin: sleepDeployment, command: "apply --server-side --force-conflicts -f -", want: "serverside-applied"},
		{stdin: sleepDeployment, command: "apply --server-side --force-conflicts -f -", want: "serverside-applied"},
		{command: "get deploy sleep-1 -o jsonpath={.spec.template.spec.containers[*].image}", want: "kiamol/ch03-sleep"},
		{command: "label deploy sleep-1 x=y", want: "labeled"},
		{command: "get deploy sleep-1 -o yaml --show-managed-fields", want: "manager: kubectl-label"},
		{command: "get pods --field-selector=spec.nothing=1", want: "field label not supported: spec.nothing", fails: true},
		{command: "get deploy nothing", want: `Error from server (NotFound): deployments.apps "nothing" not found`, fails: true},
		{command: "get nothing", want: `the server doesn't have a resource type "nothing"`, fails: true},
		{command: "delete deploy sleep-1", want: `deployment.apps "sleep-1" deleted`},
		{command: "create sa default", want: "created"},
		{stdin: sleepPod, command: "apply -f -", want: "pod/sleep created"},
		{stdin: sleepPod, command: "apply --server-side -f -", want: "serverside-applied"},
		{stdin: sleepPod, command: "apply --server-side -f -", want: "serverside-applied"},
		{command: "get pod sleep -o jsonpath={.spec.tolerations[*].key}", want: "node.kubernetes.io/not-ready node.kubernetes.io/unreachable"},
		{command: "get pod sleep -o jsonpath={.metadata.managedFields[*].manager} --show-managed-fields", want: "kubectl before-first-apply"},
		{command: "delete pod sleep --now", want: `pod "sleep" deleted`},
		{command: "create ns going", want: "created"},
		{command: "create cm settings --from-literal=a=b -n going", want: "created"},
		{command: "create cm settings --from-literal=a=b -n absent", want: `namespaces "absent" not found`, fails: true},
		{command: "delete ns going --wait=false", want: "deleted"},
		{command: "get ns going", want: "Terminating"},
		{command: "create cm other -n going", want: `configmaps "other" is forbidden: unable to create new content in namespace going because it is being terminated`, fails: true},
		{command: "create sa robot", want: "created"},
		{command: "create token robot", want: "ey"},
		{command: "get endpoints", want: "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"},
		{command: "auth whoami", want: "kubernetes-admin"},
		{command: "auth whoami --as=jane --as-group=dev", want: "[dev system:authenticated]"},
		{command: "auth can-i create pods", want: "yes"},
		{command: "auth can-i get secrets --as=system:serviceaccount:kube-system:coredns", want: "no", fails: true},
		{command: "auth can-i list pods --as=system:serviceaccount:default:robot", want: "yes"},
		{command: "auth can-i list pods --as=system:serviceaccount:default:robot -n kube-system", want: "no", fails: true},
		{command: "auth can-i get /metrics --as=jane", want: "no", fails: true},
		{command: "auth can-i --list", want: "[*]"},
		{command: "auth can-i --list --as=system:serviceaccount:default:robot", want: "[get list watch]"},
		{command: "get pods --as=jane", want: `User "jane" cannot list resource "pods" in API group "" in the namespace "default"`, fails: true},
		{command: "api-resources --verbs=create --api-group=authorization.k8s.io", want: "SelfSubjectAccessReview"},
		{command: "get --raw /healthz", want: "ok"},
		{command: "get --raw /nothing", want: "NotFound", fails: true},
		{command: "get all -A", want: "service/kubernetes"},
		{command: "delete cm --all -n going", want: `configmap "settings" deleted`},
	})
}
