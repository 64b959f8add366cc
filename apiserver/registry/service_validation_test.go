package registry

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// service makes a manifest of a Service named "web" from the lines of its spec.
func service(spec string) string {
	return "metadata: {name: web}\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
}

func TestServiceValidation(t *testing.T) {
	const label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
	runFailCases(t, "services", []failCase{
		{"no ports", service("selector: {app: web}"), []string{"spec.ports: Required value"}},
		{"headless without ports", service("clusterIP: None"), nil},
		{"unnamed ports", service("ports: [{port: 80}, {port: 81}]"), []string{
			"spec.ports[0].name: Required value", "spec.ports[1].name: Required value"}},
		{"names", service("ports: [{name: A, port: 80}, {name: b, port: 81}, {name: b, port: 82}]"), []string{
			`spec.ports[0].name: Invalid value: "A": ` + label, `spec.ports[2].name: Duplicate value: "b"`}},
		{"same port twice", service("ports: [{name: a, port: 80}, {name: b, port: 80}]"), []string{
			`spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}`}},
		{"same port, other protocol", service("ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]"), nil},
		{"numbers", service("ports: [{port: 0, protocol: tcp, targetPort: 70000}]"), []string{
			"spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
			`spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"`,
			"spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"}},
		{"target port name", service("ports: [{port: 80, targetPort: '80x_'}]"), []string{
			`spec.ports[0].targetPort: Invalid value: "80x_": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`}},
		{"type", service("type: Internal\nports: [{port: 80}]"), []string{
			`spec.type: Unsupported value: "Internal": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`}},
		{"node port of a ClusterIP", service("ports: [{port: 80, nodePort: 30080}]"), []string{
			"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"}},
		{"node port range", service("type: NodePort\nports: [{port: 80, nodePort: 8080}]"), []string{
			`Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 8080: provided port is not in the valid range. The range of valid ports is 30000-32767`}},
		{"same node port twice", service("type: NodePort\nports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30080}]"), []string{
			`Service "web" is invalid: spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated`}},
		{"headless NodePort", service("type: NodePort\nclusterIP: None\nports: [{port: 80}]"), []string{
			`spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`}},
		{"ClusterIP", service("clusterIP: 10.96.0\nports: [{port: 80}]"), []string{
			`Service "web" is invalid: spec.clusterIPs[0]: Invalid value: "10.96.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
		{"ClusterIP out of range", service("clusterIP: 192.168.1.1\nports: [{port: 80}]"), []string{
			`Service "web" is invalid: spec.clusterIPs: Invalid value: ["192.168.1.1"]: failed to allocate IP 192.168.1.1: the provided network does not match the current range`}},
		{"the network's own address", service("clusterIP: 10.96.0.0\nports: [{port: 80}]"), []string{
			`Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.0"]: failed to allocate IP 10.96.0.0: the provided network does not match the current range`}},
		{"ClusterIPs differ", service("clusterIP: 10.96.0.7\nclusterIPs: [10.96.0.8]\nports: [{port: 80}]"), []string{
			"Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.8\"]: first value must match `clusterIP`"}},
		{"IPv6", service("ipFamilies: [IPv6]\nports: [{port: 80}]"), []string{
			`Service "web" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`}},
		{"dual stack", service("ipFamilyPolicy: RequireDualStack\nports: [{port: 80}]"), []string{
			`Service "web" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`}},
		{"prefers dual stack", service("ipFamilyPolicy: PreferDualStack\nports: [{port: 80}]"), nil},
		{"ExternalName without a name", service("type: ExternalName"), []string{"spec.externalName: Required value"}},
		{"ExternalName with address", service("type: ExternalName\nexternalName: example.com.\nclusterIP: 10.96.0.9"), []string{
			"spec.clusterIPs: Forbidden: may not be set for ExternalName services"}},
		{"affinity", service("sessionAffinity: Cookie\nports: [{port: 80}]"), []string{
			`spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"`}},
		{"affinity timeout", service("sessionAffinity: ClientIP\nsessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}\nports: [{port: 80}]"), []string{
			"spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"}},
		{"external traffic policy", service("externalTrafficPolicy: Local\nports: [{port: 80}]"), []string{
			`spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`}},
		{"unknown traffic policies", service("type: NodePort\nexternalTrafficPolicy: Any\ninternalTrafficPolicy: Near\nports: [{port: 80}]"), []string{
			`spec.externalTrafficPolicy: Unsupported value: "Any": supported values: "Cluster", "Local"`,
			`spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"`}},
		{"health check port", service("healthCheckNodePort: 30000\nports: [{port: 80}]"), []string{
			"spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"}},
		{"external IPs", service("externalIPs: [127.0.0.1, 0.0.0.0, 169.254.1.1, x]\nports: [{port: 80}]"), []string{
			`spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`,
			`spec.externalIPs[1]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)`,
			`spec.externalIPs[2]: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)`,
			`spec.externalIPs[3]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
		{"source ranges", service("loadBalancerSourceRanges: [10.0.0.1]\nports: [{port: 80}]"), []string{
			"spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
			`spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`}},
		{"load balancer fields", service("allocateLoadBalancerNodePorts: true\nloadBalancerClass: a/b\nports: [{port: 80}]"), []string{
			"spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
			"spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"}},
		{"selector", service("selector: {app: 'a b'}\nports: [{port: 80}]"), []string{
			`spec.selector: Invalid value: "a b": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`}},
	})
}

func TestServiceUpdate(t *testing.T) {
	const ports = "\nports: [{port: 80}]"
	for _, c := range []struct {
		name, old, manifest string
		errs                []string
		check               func(t *testing.T, old, now *corev1.ServiceSpec)
	}{
		{"applied again", "type: NodePort" + ports, "type: NodePort" + ports, nil, func(t *testing.T, old, now *corev1.ServiceSpec) {
			if old.ClusterIP != now.ClusterIP || old.Ports[0].NodePort != now.Ports[0].NodePort {
				t.Errorf("addresses changed: %+v", now)
			}
		}},
		{"NodePort to ClusterIP", "type: NodePort" + ports, "type: ClusterIP" + ports, nil, func(t *testing.T, old, now *corev1.ServiceSpec) {
			if old.ClusterIP != now.ClusterIP || now.Ports[0].NodePort != 0 || now.ExternalTrafficPolicy != "" {
				t.Errorf("left over: %+v", now)
			}
		}},
		{"ClusterIP to LoadBalancer", "type: ClusterIP" + ports, "type: LoadBalancer" + ports, nil, func(t *testing.T, old, now *corev1.ServiceSpec) {
			if old.ClusterIP != now.ClusterIP || now.Ports[0].NodePort == 0 {
				t.Errorf("not allocated: %+v", now)
			}
		}},
		{"ClusterIP to ExternalName", "type: ClusterIP" + ports, "type: ExternalName\nexternalName: example.com", nil, func(t *testing.T, _, now *corev1.ServiceSpec) {
			if now.ClusterIP != "" || len(now.ClusterIPs) > 0 || len(now.IPFamilies) > 0 {
				t.Errorf("left over: %+v", now)
			}
		}},
		{"ExternalName to ClusterIP", "type: ExternalName\nexternalName: example.com", "type: ClusterIP" + ports, nil, func(t *testing.T, _, now *corev1.ServiceSpec) {
			if now.ClusterIP == "" || len(now.ClusterIPs) != 1 || len(now.IPFamilies) != 1 || now.ExternalName != "" {
				t.Errorf("not filled in: %+v", now)
			}
		}},
		{"other ClusterIP", "clusterIP: 10.96.0.7" + ports, "clusterIP: 10.96.0.8" + ports, []string{
			`spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set`}, nil},
		{"headless to ClusterIP", "clusterIP: None\nselector: {a: b}" + ports, "clusterIP: 10.96.0.8\nselector: {a: b}" + ports, []string{
			`spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set`}, nil},
		{"health check port", "type: LoadBalancer\nexternalTrafficPolicy: Local\nhealthCheckNodePort: 31000" + ports,
			"type: LoadBalancer\nexternalTrafficPolicy: Local\nhealthCheckNodePort: 31001" + ports, []string{
				"spec.healthCheckNodePort: Forbidden: field is immutable"}, nil},
		{"class", "type: LoadBalancer\nloadBalancerClass: a/b" + ports, "type: LoadBalancer\nloadBalancerClass: a/c" + ports, []string{
			`spec.loadBalancerClass: Invalid value: "a/c": may not change once set`}, nil},
		{"renamed port keeps nothing", "type: NodePort\nports: [{name: a, port: 80, nodePort: 31111}]", "type: NodePort\nports: [{name: b, port: 80}]", nil,
			func(t *testing.T, _, now *corev1.ServiceSpec) {
				if now.Ports[0].NodePort == 0 {
					t.Errorf("no node port: %+v", now)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kinds := newTable(testConfig())
			old := kinds.create(t, "services", service(c.old))
			if lines := old.lines(); len(lines) > 0 {
				t.Fatal(lines)
			}
			result := kinds.change(t, "services", old.obj, service(c.manifest))
			equalLines(t, "errors", result.lines(), c.errs)
			if c.check != nil {
				c.check(t, &old.obj.(*corev1.Service).Spec, &result.obj.(*corev1.Service).Spec)
			}
		})
	}
}
