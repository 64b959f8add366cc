package auth

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// rule is a row of the policy: whom it is about, what it lets them do, and why they may. A request that no row allows is
// forbidden. denied is the reason to give in that case, where one row knows it; empty where none does.
type rule struct {
	why     string
	applies func(User) bool
	allows  func(User, Attributes, Getter) (allowed bool, denied string)
}

// policy is all there is. Kubernetes' counterpart stands after each reason.
var policy = []rule{
	{"administrators (cluster-admin)", inGroup(GroupMasters), everything},
	{"controllers read and write whatever they converge (system:kube-controller-manager and system:controller:*)",
		named(UserControllerManager), everything},
	{"the scheduler reads Pods and Nodes, binds, and writes Pod status and events (system:kube-scheduler)",
		named(UserScheduler), schedulerMay},
	{"agents serve the Pods of their own node (Node authorizer and NodeRestriction)", isNode, nodeMay},
	{"addons read the cluster but no Secrets (bound to ClusterRoles of their own)", isServiceAccountOf("kube-system"), readNoSecrets},
	{"service accounts look around at home (nothing by default)", isServiceAccount, readOwnNamespace},
	{"clients ask what they may do (system:basic-user)", inGroup(GroupAuthenticated), askAboutThemselves},
	{"clients discover what is served (system:discovery)", inGroup(GroupAuthenticated), discovery},
	{"probes ask for health (system:public-info-viewer)", everyone, health},
}

// Authorize says whether a user may do what the attributes say. reason says why: the policy's row if allowed; what was wrong
// if not, which may be empty. getter may be asked which node a Pod is bound to.
func Authorize(user User, attributes Attributes, getter Getter) (allowed bool, reason string) {
	for _, r := range policy {
		if !r.applies(user) {
			continue
		}
		ok, denied := r.allows(user, attributes, getter)
		if ok {
			return true, r.why
		}
		if reason == "" {
			reason = denied
		}
	}
	return false, reason
}

func everyone(User) bool { return true }

func inGroup(group string) func(User) bool {
	return func(u User) bool { return u.in(group) }
}

func named(name string) func(User) bool {
	return func(u User) bool { return u.Name == name }
}

// isNode needs both name and group, as the Node authorizer does.
func isNode(u User) bool {
	return u.in(GroupNodes) && strings.HasPrefix(u.Name, nodePrefix)
}

func isServiceAccount(u User) bool {
	return u.in(GroupServiceAccounts)
}

func isServiceAccountOf(namespace string) func(User) bool {
	return func(u User) bool { return isServiceAccount(u) && u.in(GroupServiceAccounts+":"+namespace) }
}

func everything(User, Attributes, Getter) (bool, string) { return true, "" }

func discovery(_ User, a Attributes, _ Getter) (bool, string) {
	return a.Resource == "" && isPathRead(a) && isDiscoveryPath(a.Path), ""
}

func health(_ User, a Attributes, _ Getter) (bool, string) {
	return a.Resource == "" && isPathRead(a) && isHealthPath(a.Path), ""
}

func isPathRead(a Attributes) bool { return a.Verb == "get" || a.Verb == "head" }

func askAboutThemselves(_ User, a Attributes, _ Getter) (bool, string) {
	switch resourcePath(a) {
	case "authorization.k8s.io/selfsubjectaccessreviews", "authorization.k8s.io/selfsubjectrulesreviews",
		"authentication.k8s.io/selfsubjectreviews":
		return a.Verb == "create", ""
	}
	return false, ""
}

// isRead is false for subresources by which a get does more than read: exec, attach, portforward, proxy. It is false for all
// resources at once, too: "*" includes Secrets.
func isRead(a Attributes) bool {
	return a.Resource != "" && a.Resource != "*" &&
		slices.Contains([]string{"get", "list", "watch"}, a.Verb) &&
		slices.Contains([]string{"", "status", "scale", "log"}, a.Subresource)
}

func isSecret(a Attributes) bool { return a.Group == corev1.GroupName && a.Resource == "secrets" }

func readNoSecrets(_ User, a Attributes, _ Getter) (bool, string) {
	return isRead(a) && !isSecret(a), ""
}

func readOwnNamespace(u User, a Attributes, _ Getter) (bool, string) {
	own := a.Namespace != "" && u.in(GroupServiceAccounts+":"+a.Namespace)
	return own && isRead(a) && !isSecret(a), ""
}

// schedulerMay lists the scheduler's writes; it may read everything but Secrets.
func schedulerMay(_ User, a Attributes, _ Getter) (bool, string) {
	switch resourcePath(a) {
	case "pods/binding", "bindings":
		return a.Verb == "create", ""
	case "pods/status":
		return isRead(a) || isUpdate(a), ""
	case "events", "events.k8s.io/events":
		return isRead(a) || isUpdate(a) || a.Verb == "create", ""
	case "pods":
		return isRead(a) || a.Verb == "delete", ""
	}
	return readNoSecrets(User{}, a, nil)
}

func isUpdate(a Attributes) bool { return a.Verb == "update" || a.Verb == "patch" }

// resourcePath is "pods", "pods/status", "events.k8s.io/events".
func resourcePath(a Attributes) string {
	path := a.Resource
	if a.Group != corev1.GroupName {
		path = a.Group + "/" + path
	}
	if a.Subresource != "" {
		path += "/" + a.Subresource
	}
	return path
}

// NodeOf returns the name of the node that a user is the agent of; ok is false for everyone else.
func NodeOf(u User) (node string, ok bool) { return nodeName(u), isNode(u) }

// nodeName is the node that a node's user stands for.
func nodeName(u User) string { return strings.TrimPrefix(u.Name, nodePrefix) }

// nodeMay is the policy for agents, and for the proxies that share their identity. They need what a Pod's volumes and
// environment may name, so they read all Secrets and ConfigMaps; Kubernetes narrows that to those of the node's own Pods.
func nodeMay(u User, a Attributes, getter Getter) (bool, string) {
	node := nodeName(u)
	switch resourcePath(a) {
	case "services", "endpoints", "discovery.k8s.io/endpointslices", "networking.k8s.io/servicecidrs", "configmaps", "secrets", "serviceaccounts",
		"namespaces":
		return isRead(a), ""
	case "nodes":
		return isRead(a) || ownNode(a, node, "create", "update", "patch"), nodeDenied(a, node)
	case "nodes/status":
		return isRead(a) || ownNode(a, node, "update", "patch"), nodeDenied(a, node)
	case "pods":
		if a.Verb == "delete" {
			return podIsOn(a, node, getter), fmt.Sprintf("node %q can only delete pods with spec.nodeName set to itself", node)
		}
		return isRead(a), ""
	case "pods/status":
		if isUpdate(a) {
			return podIsOn(a, node, getter),
				fmt.Sprintf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
		}
		return isRead(a), ""
	case "serviceaccounts/token":
		return a.Verb == "create", ""
	case "events", "events.k8s.io/events":
		return a.Verb == "create" || isUpdate(a), ""
	case "coordination.k8s.io/leases":
		own := a.Namespace == corev1.NamespaceNodeLease &&
			ownNode(a, node, "get", "create", "update", "patch", "delete")
		return own, fmt.Sprintf("can only access node lease with the same name as the requesting node %q", node)
	}
	return false, ""
}

// ownNode allows verbs on the object with the node's own name. A create whose name is not known yet passes here, and must be
// asked again with the object's name.
func ownNode(a Attributes, node string, verbs ...string) bool {
	return slices.Contains(verbs, a.Verb) && (a.Name == node || a.Verb == "create" && a.Name == "")
}

func nodeDenied(a Attributes, node string) string {
	return fmt.Sprintf("node %q is not allowed to modify node %q", node, a.Name)
}

// podIsOn is true for a Pod that is bound to the node, and for one that is not there: who writes about it is to hear "not found".
func podIsOn(a Attributes, node string, getter Getter) bool {
	if a.Name == "" {
		return false
	}
	_, bound, found := getter.Pod(a.Namespace, a.Name)
	return !found || bound == node
}
