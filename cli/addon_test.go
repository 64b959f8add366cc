package cli

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kubelite/kubelite/addons/dns"
)

func TestAddonIsInstalledOnceNothingIsInItsWay(t *testing.T) {
	client, refusals := fake.NewClientset(), 0
	client.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		refusals++
		return refusals <= 2, nil, errors.New("provided IP is already allocated")
	})
	installObjects(t.Context(), client, dns.Objects(dns.ManifestConfig{Image: "i", ClusterIP: "10.96.0.10"}), wait.Backoff{Duration: time.Millisecond})
	if _, err := client.CoreV1().Services(dns.Namespace).Get(t.Context(), dns.ServiceName, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	deployments := 0
	for _, action := range client.Actions() {
		if action.Matches("create", "deployments") {
			deployments++
		}
	}
	if refusals != 3 || deployments != 1 {
		t.Errorf("the Service was tried %d times and the Deployment made %d times, want 3 and 1", refusals, deployments)
	}
}
