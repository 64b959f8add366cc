package registry

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const webTemplate = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx}]}}"

// deployment makes a manifest from the lines of a spec; the selector and the template match if there are none of them.
func deployment(spec string) string {
	if !strings.Contains(spec, "selector:") {
		spec += "\nselector: {matchLabels: {app: web}}"
	}
	if !strings.Contains(spec, "template:") {
		spec += "\n" + webTemplate
	}
	return "metadata: {name: web}\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
}

func TestDeploymentValidation(t *testing.T) {
	runFailCases(t, "deployments.apps", []failCase{
		{"valid", deployment(""), nil},
		{"nothing", "metadata: {name: web}", []string{
			"spec.selector: Required value", "spec.template.spec.containers: Required value",
			"spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"}},
		{"selector does not match", deployment("selector: {matchLabels: {app: other}}"), []string{
			"spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"}},
		{"empty selector", deployment("selector: {}"), []string{
			"spec.selector: Invalid value: {}: empty selector is invalid for deployment"}},
		{"negative", deployment("replicas: -1\nminReadySeconds: -1\nrevisionHistoryLimit: -1"), []string{
			"spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
			"spec.replicas: Invalid value: -1: must be greater than or equal to 0",
			"spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"}},
		{"deadline", deployment("minReadySeconds: 600"), []string{
			"spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"}},
		{"Recreate with numbers", deployment("strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}"), []string{
			"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"}},
		{"no room", deployment("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}"), []string{
			"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"}},
		{"percent", deployment("strategy: {rollingUpdate: {maxSurge: half, maxUnavailable: 101%}}"), []string{
			`spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')`,
			`spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%`}},
		{"strategy", deployment("strategy: {type: BlueGreen}"), []string{
			`spec.strategy: Unsupported value: {"type":"BlueGreen"}: supported values: "Recreate", "RollingUpdate"`}},
		{"template", deployment("template: {metadata: {labels: {app: web}}, spec: {restartPolicy: Never, activeDeadlineSeconds: 3, containers: [{name: web}]}}"), []string{
			"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
			"spec.template.spec.containers[0].image: Required value",
			`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`}},
	})
}

func TestWorkloadUpdates(t *testing.T) {
	kinds := newTable(testConfig())
	const other = "selector: {matchLabels: {app: other}}\ntemplate: {metadata: {labels: {app: other}}, spec: {containers: [{name: web, image: nginx}]}}"
	const immutable = `spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable`
	for _, resource := range []string{"deployments.apps", "replicasets.apps"} {
		old := kinds.create(t, resource, deployment("")).obj
		equalLines(t, resource, kinds.change(t, resource, old, deployment(other)).lines(), []string{immutable})
		for manifest, generation := range map[string]int64{deployment(""): 1, deployment("replicas: 3"): 2} {
			result := kinds.change(t, resource, old, manifest)
			equalLines(t, resource, result.lines(), nil)
			if got := result.obj.GetGeneration(); got != generation {
				t.Errorf("%s: generation %d, want %d", resource, got, generation)
			}
		}
	}
}

func TestWorkloadStatus(t *testing.T) {
	kinds := newTable(testConfig())
	deployment := kinds.create(t, "deployments.apps", deployment("")).obj.(*appsv1.Deployment)
	deployment.Status.CollisionCount = ptr.To[int32](2)
	changed := deployment.DeepCopy()
	changed.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: 2, AvailableReplicas: 3, UpdatedReplicas: -1, CollisionCount: ptr.To[int32](1)}
	equalLines(t, "errors", created{errs: kinds["deployments.apps"].Status.ValidateUpdate(changed, deployment)}.lines(), []string{
		"status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
		"status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
		"status.collisionCount: Invalid value: 1: cannot be decremented",
		"status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
		"status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0",
	})
	scale := kinds["deployments.apps"].Scale
	scale.SetReplicas(changed, 7)
	if spec, status := scale.Replicas(changed); spec != 7 || status != 1 || scale.Selector(changed) != "app=web" {
		t.Errorf("scale %d, %d, %s", spec, status, scale.Selector(changed))
	}
}

func TestConfigMapValidation(t *testing.T) {
	runFailCases(t, "configmaps", []failCase{
		{"keys", "metadata: {name: c}\ndata: {'a b': x, both: x}\nbinaryData: {both: eA==}", []string{
			`data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`,
			`data[both]: Invalid value: "both": duplicate of key present in binaryData`}},
		{"too long", fmt.Sprintf("metadata: {name: c}\ndata: {a: %q}", strings.Repeat("x", maxDataBytes+1)), []string{
			"[]: Too long: may not be more than 1048576 bytes"}},
	})
	kinds := newTable(testConfig())
	old := kinds.create(t, "configmaps", "metadata: {name: c}\nimmutable: true\ndata: {a: b}").obj
	equalLines(t, "errors", kinds.change(t, "configmaps", old, "metadata: {name: c}\ndata: {a: c}").lines(), []string{
		"data: Forbidden: field is immutable when `immutable` is set", "immutable: Forbidden: field is immutable when `immutable` is set"})
}

func TestSecretValidation(t *testing.T) {
	secret := func(kind, data string) string {
		return fmt.Sprintf("metadata: {name: s}\ntype: %s\nstringData: {%s}", kind, data)
	}
	runFailCases(t, "secrets", []failCase{
		{"opaque", secret("", "a: b"), nil},
		{"tls", secret("kubernetes.io/tls", "tls.crt: x"), []string{"data[tls.key]: Required value"}},
		{"docker", secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson: '{'"), []string{
			`data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input`}},
		{"old docker", secret("kubernetes.io/dockercfg", ""), []string{"data[.dockercfg]: Required value"}},
		{"basic", secret("kubernetes.io/basic-auth", ""), []string{"data[password]: Required value", "data[username]: Required value"}},
		{"ssh", secret("kubernetes.io/ssh-auth", ""), []string{"data[ssh-privatekey]: Required value"}},
		{"token", secret("kubernetes.io/service-account-token", ""), []string{
			"metadata.annotations[kubernetes.io/service-account.name]: Required value"}},
	})
	kinds := newTable(testConfig())
	old := kinds.create(t, "secrets", secret("", "a: b")).obj
	equalLines(t, "errors", kinds.change(t, "secrets", old, secret("other", "a: b")).lines(), []string{
		`type: Invalid value: "other": field is immutable`})
}

func TestEndpointsValidation(t *testing.T) {
	runFailCases(t, "endpoints", []failCase{
		{"empty subset", "metadata: {name: e}\nsubsets: [{ports: [{port: 80}]}]", []string{
			"subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"}},
		{"address", "metadata: {name: e}\nsubsets: [{addresses: [{ip: web}, {ip: 127.0.0.1}], ports: [{port: 80}, {name: a, port: 0}]}]", []string{
			`subsets[0].addresses[0].ip: Invalid value: "web": must be a valid IP address`,
			`subsets[0].addresses[0].ip: Invalid value: "web": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
			`subsets[0].addresses[1].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`,
			"subsets[0].ports[0].name: Required value",
			"subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive"}},
	})
}

func TestEndpointSliceValidation(t *testing.T) {
	runFailCases(t, "endpointslices.discovery.k8s.io", []failCase{
		{"no type", "metadata: {name: e}", []string{"addressType: Required value"}},
		{"type", "metadata: {name: e}\naddressType: DNS", []string{`addressType: Unsupported value: "DNS": supported values: "FQDN", "IPv4", "IPv6"`}},
		{"addresses", "metadata: {name: e}\naddressType: IPv4\nendpoints: [{}, {addresses: ['fd00::1', 224.0.0.1]}]", []string{
			"endpoints[0].addresses: Required value",
			`endpoints[1].addresses: Invalid value: "fd00::1": must be an IPv4 address`,
			`endpoints[1].addresses[1]: Invalid value: "224.0.0.1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)`}},
		{"ports", "metadata: {name: e}\naddressType: IPv4\nports: [{port: 80}, {port: 70000, protocol: X}]", []string{
			`ports[1].name: Duplicate value: ""`,
			`ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"`}},
	})
	kinds := newTable(testConfig())
	const resource = "endpointslices.discovery.k8s.io"
	old := kinds.create(t, resource, "metadata: {name: e}\naddressType: IPv4").obj
	equalLines(t, "errors", kinds.change(t, resource, old, "metadata: {name: e}\naddressType: IPv6").lines(), []string{
		`addressType: Invalid value: null: field is immutable`})
	if got := kinds.change(t, resource, old, "metadata: {name: e}\naddressType: IPv4\nports: [{port: 80}]").obj.GetGeneration(); got != 2 {
		t.Errorf("generation %d", got)
	}
}

func TestNodeValidation(t *testing.T) {
	runFailCases(t, "nodes", []failCase{
		{"taints", "metadata: {name: n}\nspec: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}, {key: b}]}", []string{
			`metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: taints must be unique by key and effect pair`,
			"metadata.taints[2].effect: Required value"}},
		{"resources", "metadata: {name: n}\nstatus: {capacity: {cpu: -1}}", []string{
			`status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0`,
			`status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0`}},
		{"CIDR", "metadata: {name: n}\nspec: {podCIDR: 10.244.0.0}", []string{
			`spec.podCIDRs[0]: Invalid value: "10.244.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`}},
		{"CIDRs of one family", "metadata: {name: n}\nspec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24, 10.244.1.0/24]}", []string{
			`spec.podCIDRs: Invalid value: ["10.244.0.0/24","10.244.1.0/24"]: may specify no more than one CIDR for each IP family`}},
		{"dual stack", "metadata: {name: n}\nspec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24, 'fd00:10:244::/64']}", nil},
	})
	kinds := newTable(testConfig())
	old := kinds.create(t, "nodes", "metadata: {name: n}\nspec: {podCIDR: 10.244.0.0/24}").obj
	equalLines(t, "errors", kinds.change(t, "nodes", old, "metadata: {name: n}\nspec: {podCIDR: 10.244.1.0/24}").lines(), []string{
		`spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`})
}

func TestLeaseValidation(t *testing.T) {
	runFailCases(t, "leases.coordination.k8s.io", []failCase{
		{"numbers", "metadata: {name: l}\nspec: {leaseDurationSeconds: 0, leaseTransitions: -1}", []string{
			"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
			"spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"}},
	})
}

func TestNamespaceValidation(t *testing.T) {
	runFailCases(t, "namespaces", []failCase{
		{"finalizer", "metadata: {name: n}\nspec: {finalizers: [mine]}", []string{
			`spec.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified`}},
	})
	kinds := newTable(testConfig())
	namespace := kinds.create(t, "namespaces", "metadata: {name: n}").obj.(*corev1.Namespace)
	changed := namespace.DeepCopy()
	changed.Status.Phase = corev1.NamespaceTerminating
	equalLines(t, "errors", created{errs: kinds["namespaces"].Status.ValidateUpdate(changed, namespace)}.lines(), []string{
		"status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"})
	changed.DeletionTimestamp = ptr.To(metav1.Now())
	equalLines(t, "errors", created{errs: kinds["namespaces"].Status.ValidateUpdate(changed, namespace)}.lines(), nil)
}

func TestEventValidation(t *testing.T) {
	runFailCases(t, "events", []failCase{
		{"old recorder", "metadata: {name: e}\ninvolvedObject: {namespace: default}", nil},
		{"of a node", "metadata: {name: e}\ninvolvedObject: {kind: Node, name: n}", nil},
		{"other namespace", "metadata: {name: e}\ninvolvedObject: {namespace: other}", []string{
			`involvedObject.namespace: Invalid value: "other": does not match event.namespace`}},
		{"incomplete", "metadata: {name: e}\ninvolvedObject: {namespace: default}\neventTime: '2026-01-02T03:04:05.000006Z'\nreportingComponent: c", []string{
			"action: Required value", "reason: Required value", "reportingInstance: Required value"}},
	})
	runFailCases(t, "events.events.k8s.io", []failCase{
		{"old recorder", "metadata: {name: e}\nregarding: {namespace: default}\ndeprecatedCount: 1", []string{
			`count: Invalid value: "": needs to be unset`, "eventTime: Required value", `type: Invalid value: "": has invalid value: `}},
	})
}
