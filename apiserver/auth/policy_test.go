package auth

import (
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// cluster is a Getter of "namespace/name".
type cluster struct {
	serviceAccounts map[string]types.UID
	pods            map[string]types.UID
	nodes           map[string]string // of the Pods
}

func (c cluster) ServiceAccount(namespace, name string) (types.UID, bool) {
	uid, found := c.serviceAccounts[namespace+"/"+name]
	return uid, found
}

func (c cluster) Pod(namespace, name string) (types.UID, string, bool) {
	uid, found := c.pods[namespace+"/"+name]
	return uid, c.nodes[namespace+"/"+name], found
}

func testCluster() cluster {
	return cluster{
		serviceAccounts: map[string]types.UID{"default/app": "sa-uid"},
		pods:            map[string]types.UID{"default/mine": "pod-uid", "default/other": "2", "default/pending": "3"},
		nodes:           map[string]string{"default/mine": "node-1", "default/other": "node-2"},
	}
}

func account(namespace, name string) User {
	return User{
		Name:   "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{GroupServiceAccounts, GroupServiceAccounts + ":" + namespace, GroupAuthenticated},
	}
}

func TestAuthorize(t *testing.T) {
	admin := User{Name: "kubernetes-admin", Groups: []string{GroupMasters, GroupAuthenticated}}
	controllers := User{Name: UserControllerManager, Groups: []string{GroupAuthenticated}}
	scheduler := User{Name: UserScheduler, Groups: []string{GroupAuthenticated}}
	node := User{Name: "system:node:node-1", Groups: []string{GroupNodes, GroupAuthenticated}}
	impostor := User{Name: "system:node:node-1", Groups: []string{GroupAuthenticated}}
	dns, app := account("kube-system", "coredns"), account("default", "app")
	resource := func(verb, group, resource, subresource, namespace, name string) Attributes {
		return Attributes{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace, Name: name}
	}
	path := func(path string) Attributes { return Attributes{Verb: "get", Path: path} }
	const lease = "coordination.k8s.io"
	tests := []struct {
		name string
		user User
		asks Attributes
		want bool
	}{
		{"admin", admin, resource("deletecollection", "", "secrets", "", "x", ""), true},
		{"admin path", admin, path("/metrics"), true},
		{"controllers", controllers, resource("create", "apps", "replicasets", "", "x", ""), true},
		{"scheduler binds", scheduler, resource("create", "", "pods", "binding", "x", "p"), true},
		{"scheduler status", scheduler, resource("patch", "", "pods", "status", "x", "p"), true},
		{"scheduler watches nodes", scheduler, resource("watch", "", "nodes", "", "", ""), true},
		{"scheduler creates pods", scheduler, resource("create", "", "pods", "", "x", ""), false},
		{"scheduler secrets", scheduler, resource("get", "", "secrets", "", "x", "s"), false},
		{"node watches services", node, resource("watch", "", "services", "", "", ""), true},
		{"node watches slices", node, resource("list", "discovery.k8s.io", "endpointslices", "", "", ""), true},
		{"node secret", node, resource("get", "", "secrets", "", "x", "s"), true},
		{"node writes secret", node, resource("update", "", "secrets", "", "x", "s"), false},
		{"node registers", node, resource("create", "", "nodes", "", "", "node-1"), true},
		{"node own status", node, resource("patch", "", "nodes", "status", "", "node-1"), true},
		{"node other status", node, resource("patch", "", "nodes", "status", "", "node-2"), false},
		{"node deletes itself", node, resource("delete", "", "nodes", "", "", "node-1"), false},
		{"node own lease", node, resource("update", lease, "leases", "", "kube-node-lease", "node-1"), true},
		{"node other lease", node, resource("update", lease, "leases", "", "kube-node-lease", "node-2"), false},
		{"node lease elsewhere", node, resource("update", lease, "leases", "", "default", "node-1"), false},
		{"node own pod status", node, resource("patch", "", "pods", "status", "default", "mine"), true},
		{"node other pod status", node, resource("patch", "", "pods", "status", "default", "other"), false},
		{"node own pod", node, resource("delete", "", "pods", "", "default", "mine"), true},
		{"node other pod", node, resource("delete", "", "pods", "", "default", "other"), false},
		{"node pending pod", node, resource("delete", "", "pods", "", "default", "pending"), false},
		{"node missing pod, to be told so", node, resource("delete", "", "pods", "", "default", "missing"), true},
		{"node all pods", node, resource("deletecollection", "", "pods", "", "default", ""), false},
		{"node exec", node, resource("get", "", "pods", "exec", "default", "mine"), false},
		{"node token", node, resource("create", "", "serviceaccounts", "token", "default", "app"), true},
		{"node event", node, resource("create", "", "events", "", "default", ""), true},
		{"node by name only", impostor, resource("watch", "", "services", "", "", ""), false},
		{"addon reads", dns, resource("watch", "discovery.k8s.io", "endpointslices", "", "", ""), true},
		{"addon writes", dns, resource("create", "", "pods", "", "kube-system", ""), false},
		{"addon secrets", dns, resource("get", "", "secrets", "", "kube-system", "s"), false},
		{"addon everything", dns, resource("list", "*", "*", "", "", ""), false},
		{"account asks about itself", app, resource("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", ""), true},
		{"anonymous asks about itself", Anonymous(), resource("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", ""), false},
		{"addon exec", dns, resource("get", "", "pods", "exec", "default", "mine"), false},
		{"account at home", app, resource("list", "", "pods", "", "default", ""), true},
		{"account log", app, resource("get", "", "pods", "log", "default", "mine"), true},
		{"account secrets", app, resource("list", "", "secrets", "", "default", ""), false},
		{"account elsewhere", app, resource("list", "", "pods", "", "kube-system", ""), false},
		{"account everywhere", app, resource("list", "", "pods", "", "", ""), false},
		{"account writes", app, resource("create", "", "pods", "", "default", ""), false},
		{"account discovery", app, path("/apis/apps/v1"), true},
		{"account version", app, path("/version"), true},
		{"account metrics", app, path("/metrics"), false},
		{"look-alike path", app, path("/apiserver"), false},
		{"anonymous health", Anonymous(), path("/readyz"), true},
		{"anonymous health detail", Anonymous(), path("/livez/ping"), true},
		{"anonymous discovery", Anonymous(), path("/api"), false},
		{"anonymous pods", Anonymous(), resource("list", "", "pods", "", "default", ""), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, reason := Authorize(test.user, test.asks, testCluster())
			if got != test.want {
				t.Errorf("allowed: %t, reason: %s", got, reason)
			}
			if got && reason == "" {
				t.Error("allowed without a reason")
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	user := User{Name: "x"}
	tests := []struct {
		asks   Attributes
		reason string
		want   string
	}{
		{Attributes{Verb: "list", Resource: "pods", Namespace: "default"}, "",
			`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"`},
		{Attributes{Verb: "patch", Group: "apps", Resource: "deployments", Subresource: "scale", Namespace: "a", Name: "web"}, "",
			`deployments.apps "web" is forbidden: User "x" cannot patch resource "deployments/scale" in API group "apps" in the namespace "a"`},
		{Attributes{Verb: "get", Resource: "nodes", Name: "n"}, "why",
			`nodes "n" is forbidden: User "x" cannot get resource "nodes" in API group "" at the cluster scope: why`},
		{Attributes{Verb: "get", Path: "/metrics"}, "", `forbidden: User "x" cannot get path "/metrics"`},
	}
	for _, test := range tests {
		err := Forbidden(user, test.asks, test.reason)
		if err.Error() != test.want || !apierrors.IsForbidden(err) {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
	if status := Unauthorized().(apierrors.APIStatus).Status(); status.Code != http.StatusUnauthorized || status.Message != "Unauthorized" {
		t.Errorf("unauthorized: %+v", status)
	}
}
