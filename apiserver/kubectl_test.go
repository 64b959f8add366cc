package apiserver

import (
	"io"
	"strings"
	"testing"
)

func stringReader(text string) io.Reader { return strings.NewReader(text) }

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

func TestKubectlSmoke(t *testing.T) {
	server := startServer(t, t.TempDir())
	steps := []struct {
		stdin     string
		arguments string
		want      []string
	}{
		{"", "get namespaces", []string{"NAME", "default", "kube-node-lease"}},
		{"", "get svc", []string{"kubernetes", "10.96.0.1", "443/TCP"}},
		{"", "api-resources", []string{"deployments", "deploy", "apps/v1"}},
		{sleepDeployment, "apply --validate=false -f -", []string{"deployment.apps/sleep-1 created"}},
		{sleepDeployment, "apply --validate=false -f -", []string{"deployment.apps/sleep-1 unchanged"}},
		{"", "get deploy -o wide", []string{"sleep-1", "kiamol/ch03-sleep"}},
		{"", "get deploy sleep-1 -o yaml", []string{"progressDeadlineSeconds: 600"}},
	}
	for _, step := range steps {
		output, err := server.kubectl(t, step.stdin, strings.Fields(step.arguments)...)
		if err != nil {
			t.Errorf("kubectl %s: %v", step.arguments, err)
		}
		for _, want := range step.want {
			if !strings.Contains(output, want) {
				t.Errorf("kubectl %s printed no %q:\n%s", step.arguments, want, output)
			}
		}
	}
}
