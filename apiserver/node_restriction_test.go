package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// clientOf returns a typed client of a user with a certificate.
func (s *testServer) clientOf(t *testing.T, user string, groups ...string) *kubernetes.Clientset {
	t.Helper()
	pair, err := s.Authority().IssueClient(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(s.config)
	config.CertData, config.KeyData = pair.CertificatePEM, pair.KeyPEM
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// nodeCase is one thing that node-1 tries; want is how the refusal ends, empty: none.
type nodeCase struct {
	name string
	do   func() error
	want string
}

func TestNodeRestriction(t *testing.T) {
	server := startServer(t, t.TempDir())
	startAgent(t, server, http.NotFoundHandler()) // the Pod "one" is on node-1
	ctx := t.Context()
	other := pod("two")
	other.Spec.NodeName = "node-2"
	other, err := server.client(t, "application/json").CoreV1().Pods("default").Create(ctx, other, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node := server.clientOf(t, "system:node:node-1", "system:nodes")
	own, err := node.CoreV1().Pods("default").Get(ctx, "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token := func(ref *authenticationv1.BoundObjectReference) func() error {
		return func() error {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref}}
			answer, err := node.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", request, metav1.CreateOptions{})
			if err == nil && answer.Status.Token == "" {
				return errors.New("no token")
			}
			return err
		}
	}
	bound := func(to *corev1.Pod) *authenticationv1.BoundObjectReference {
		return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: to.Name, UID: to.UID}
	}
	status := func(change func(*corev1.Pod)) func() error {
		return func() error {
			changed := own.DeepCopy()
			changed.ResourceVersion = ""
			change(changed)
			_, err := node.CoreV1().Pods("default").UpdateStatus(ctx, changed, metav1.UpdateOptions{})
			return err
		}
	}
	generated := func() error {
		lease := lease("")
		lease.GenerateName = "node-1"
		_, err := node.CoordinationV1().Leases("kube-node-lease").Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	for _, test := range []nodeCase{
		{"token of its Pod", token(bound(own)), ""},
		{"token of another's Pod", token(bound(other)), "node requested token bound to a pod scheduled on a different node"},
		{"token of no Pod", token(nil), "node requested token not bound to a pod"},
		{"token of any Pod of the name", token(&authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "one"}),
			"node requested token with a pod binding without a uid"},
		{"status", status(func(p *corev1.Pod) { p.Status.Message = "well" }), ""},
		{"labels", status(func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }),
			fmt.Sprintf("node %q cannot update labels through pod status", "node-1")},
		{"lease with a generated name", generated, `can only access node lease with the same name as the requesting node "node-1"`},
	} {
		t.Run(test.name, func(t *testing.T) { test.check(t) })
	}
}

func (test nodeCase) check(t *testing.T) {
	err := test.do()
	if test.want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), test.want) {
		t.Errorf("got %v, want a refusal: %s", err, test.want)
	}
}
