package registry

import (
	"testing"
)

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name, resource, manifest string
		want                     []string
	}{
		{"nothing to say", "pods", pod(webContainer), nil},
		{"name of a Pod", "pods", "metadata: {name: a.b}\nspec: {" + "containers: [{name: web, image: nginx}]}", []string{
			"metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"}},
		{"name of a Deployment", "deployments.apps", "metadata: {name: a.b}\nspec: {selector: {matchLabels: {app: web}}, " + webTemplate + "}", []string{
			"metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"}},
		{"env twice", "pods", container("env: [{name: A, value: x}, {name: A, value: z}, {name: A, value: '$(A):more'}]"), []string{
			`spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply`}},
		{"port twice", "pods", container("ports: [{containerPort: 80}, {containerPort: 80}, {containerPort: 80, hostPort: 8080}]"), []string{
			"spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
			"spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
			"spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]"}},
		{"port name in two containers", "pods", pod("containers: [{name: a, image: a, ports: [{name: http, containerPort: 80}]}, {name: b, image: b, ports: [{name: http, containerPort: 81}]}]"), []string{
			`spec.containers[1].ports[0]: duplicate port name "http" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]`}},
		{"old node label", "pods", pod(webContainer + "nodeSelector: {beta.kubernetes.io/os: linux}"), []string{
			`spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead`}},
		{"template", "deployments.apps", deployment("template: {metadata: {labels: {app: web}}, spec: {nodeSelector: {beta.kubernetes.io/arch: amd64}, containers: [{name: web, image: nginx}]}}"), []string{
			`spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead`}},
		{"fraction of a byte", "pods", container("resources: {limits: {memory: 100m}}"), []string{
			`spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer`,
			`spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer`}},
		{"grace", "pods", pod(webContainer + "terminationGracePeriodSeconds: -1"), []string{
			"spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"}},
		{"pull secrets", "pods", pod(webContainer + "imagePullSecrets: [{name: a}, {name: a}, {}]"), []string{
			`spec.imagePullSecrets[1].name: duplicate name "a"`, `spec.imagePullSecrets[2].name: invalid empty name ""`}},
		{"annotation", "pods", "metadata: {name: a, annotations: {scheduler.alpha.kubernetes.io/critical-pod: ''}}\nspec: {containers: [{name: web, image: nginx}]}", []string{
			`metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead`}},
		{"affinity of a headless Service", "services", service("clusterIP: None\nsessionAffinity: ClientIP"), []string{
			"spec.SessionAffinity is ignored for headless services"}},
		{"external IPs", "services", service("externalIPs: [192.168.1.77]\nports: [{port: 80}]"), []string{
			"spec.externalIPs is deprecated and may no longer be implemented in some clusters"}},
		{"external name", "services", service("externalName: a.b\nports: [{port: 80}]"), []string{
			`spec.externalName is ignored when spec.type is not "ExternalName"`}},
		{"traffic distribution", "services", service("trafficDistribution: PreferClose\nports: [{port: 80}]"), []string{
			`spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"`}},
		{"FQDN slice", "endpointslices.discovery.k8s.io", "metadata: {name: e}\naddressType: FQDN\nendpoints: [{addresses: [a.example.com]}]", []string{
			"spec.addressType: FQDN endpoints are deprecated"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := newTable(testConfig()).create(t, c.resource, c.manifest)
			if len(result.lines()) > 0 {
				t.Fatal(result.lines())
			}
			equalLines(t, "warnings", result.warnings, c.want)
		})
	}
}

// TestTemplateWarningsOnce: a Deployment that is scaled is not warned of its template again.
func TestTemplateWarningsOnce(t *testing.T) {
	const template = "\ntemplate: {metadata: {labels: {app: web}}, spec: {nodeSelector: {beta.kubernetes.io/arch: amd64}, containers: [{name: web, image: nginx}]}}"
	kinds := newTable(testConfig())
	old := kinds.create(t, "deployments.apps", deployment("replicas: 1"+template)).obj
	if warnings := kinds.change(t, "deployments.apps", old, deployment("replicas: 2"+template)).warnings; len(warnings) > 0 {
		t.Error(warnings)
	}
}
