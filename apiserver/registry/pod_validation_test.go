package registry

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// pod makes a manifest of a Pod from the lines of its spec; container makes one of a Pod from those of its container.
func pod(spec string) string {
	return "metadata: {name: sleep}\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
}

func container(lines string) string {
	return pod("containers:\n- name: web\n  image: nginx\n  " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n  ") + "\n")
}

const webContainer = "containers: [{name: web, image: nginx}]\n"

func TestPodValidation(t *testing.T) {
	const label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
	runFailCases(t, "pods", []failCase{
		{"valid", pod(webContainer), nil},
		{"no containers", pod("containers: []"), []string{"spec.containers: Required value"}},
		{"no name, no image", pod("containers: [{}]"), []string{
			"spec.containers[0].image: Required value", "spec.containers[0].name: Required value"}},
		{"container name", pod("containers: [{name: Web_1, image: nginx}]"), []string{`spec.containers[0].name: Invalid value: "Web_1": ` + label}},
		{"same name twice", pod("containers: [{name: web, image: nginx}, {name: web, image: nginx}]"), []string{
			`spec.containers[1].name: Duplicate value: "web"`}},
		{"init container of the same name", pod(webContainer + "initContainers: [{name: web, image: nginx}]"), []string{
			`spec.initContainers[0].name: Duplicate value: "web"`}},
		{"image with spaces", pod(`containers: [{name: web, image: " nginx"}]`), []string{
			`spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace`}},
		{"pull policy", container("imagePullPolicy: Sometimes"), []string{
			`spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`}},
		{"restart policy", pod(webContainer + "restartPolicy: Maybe"), []string{
			`spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"`}},
		{"DNS policy", pod(webContainer + "dnsPolicy: Google"), []string{
			`spec.dnsPolicy: Unsupported value: "Google": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"`}},
		{"DNS policy None", pod(webContainer + "dnsPolicy: None"), []string{
			"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"}},
		{"hostname", pod(webContainer + "hostname: a.b\nsubdomain: A"), []string{
			`spec.hostname: Invalid value: "a.b": must not contain dots`, `spec.subdomain: Invalid value: "A": ` + label}},
		{"hostname override", pod(webContainer + "hostnameOverride: X_y\nhostNetwork: true\nsetHostnameAsFQDN: true"), []string{
			"spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
			"spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
			`spec.hostnameOverride: Invalid value: "X_y": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		{"long hostname override", pod(webContainer + "hostnameOverride: " + strings.Repeat("a", 65)), []string{
			"spec.hostnameOverride: Too long: may not be more than 64 bytes"}},
		{"operating system", pod(webContainer + "os: {name: plan9}"), []string{
			`spec.os: Unsupported value: "plan9": supported values: "linux", "windows"`}},
		{"active deadline", pod(webContainer + "activeDeadlineSeconds: 0"), []string{
			"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"}},
		{"ephemeral containers", pod(webContainer + "ephemeralContainers: [{name: debug, image: busybox}]"), []string{
			"spec.ephemeralContainers: Forbidden: cannot be set on create"}},
		{"service account", pod(webContainer + "serviceAccountName: nobody"), []string{
			`pods "sleep" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found`}},
		{"priority class", pod(webContainer + "priorityClassName: high"), []string{
			`pods "sleep" is forbidden: no PriorityClass with name high was found`}},
		{"priority", pod(webContainer + "priority: 7"), []string{
			`pods "sleep" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name`}},
		{"host network port", pod("hostNetwork: true\ncontainers: [{name: web, image: nginx, ports: [{containerPort: 80, hostPort: 81}]}]"), []string{
			"spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"}},
		{"host alias", pod(webContainer + "hostAliases: [{ip: localhost, hostnames: [a_b]}]"), []string{
			`spec.hostAliases[0].hostnames[0]: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
			`spec.hostAliases[0].ip: Invalid value: "localhost": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
	})
}

func TestContainerValidation(t *testing.T) {
	runFailCases(t, "pods", []failCase{
		{"ports", container("ports:\n- {containerPort: 70000}\n- {name: http}\n- {name: http, containerPort: 80, protocol: ICMP}"), []string{
			"spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
			"spec.containers[0].ports[1].containerPort: Required value",
			`spec.containers[0].ports[2].name: Duplicate value: "http"`,
			`spec.containers[0].ports[2].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`}},
		{"port name", container("ports: [{name: a-name-that-is-too-long, containerPort: 80}]"), []string{
			`spec.containers[0].ports[0].name: Invalid value: "a-name-that-is-too-long": must be no more than 15 characters`}},
		{"host port twice", container("ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 8080}]"), []string{
			`spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"`}},
		{"env", container("env: [{value: x}, {name: 'A=B'}]"), []string{
			"spec.containers[0].env[0].name: Required value",
			`spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='`}},
		{"env from nothing", container("env: [{name: A, valueFrom: {}}]"), []string{
			"spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"}},
		{"env with value and source", container("env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]"), []string{
			"spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"}},
		{"env field", container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.foo}}}, {name: B, valueFrom: {fieldRef: {fieldPath: status.phase}}}]"), []string{
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": error converting fieldPath: field label not supported: spec.foo`,
			`spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`}},
		{"env from a label", container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]"), nil},
		{"env key", container("env: [{name: A, valueFrom: {configMapKeyRef: {name: c}}}]"), []string{
			"spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Required value"}},
		{"env resource", container("env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.disk}}}]"), []string{
			`spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.disk": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"`}},
		{"envFrom", container("envFrom: [{}, {configMapRef: {name: a}, secretRef: {name: b}}, {secretRef: {}}]"), []string{
			"spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
			`spec.containers[0].envFrom: Invalid value: "": may not have more than one field specified at a time`,
			"spec.containers[0].envFrom[2].secretRef.name: Required value"}},
		{"mounts", container("volumeMounts: [{name: data, mountPath: /data}, {name: data}]"), []string{
			`spec.containers[0].volumeMounts[0].name: Not found: "data"`, `spec.containers[0].volumeMounts[1].name: Not found: "data"`,
			"spec.containers[0].volumeMounts[1].mountPath: Required value"}},
		{"request over limit", container("resources: {limits: {cpu: 1}, requests: {cpu: 2}}"), []string{
			`spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`}},
		{"resource names", container("resources: {limits: {disk: 1, cpu: -1}}"), []string{
			`spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
			`spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource type or fully qualified`,
			`spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource for containers`,
			`spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
			`spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource type or fully qualified`,
			`spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource for containers`}},
		{"security context", container("securityContext: {runAsUser: -1, privileged: true, allowPrivilegeEscalation: true, procMount: Some}"), []string{
			`spec.containers[0].securityContext.procMount: Unsupported value: "Some": supported values: "Default", "Unmasked"`,
			"spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"}},
		{"unmasked proc", container("securityContext: {procMount: Unmasked, runAsGroup: -2}"), []string{
			"spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
			"spec.containers[0].securityContext.runAsGroup: Invalid value: -2: must be between 0 and 2147483647, inclusive"}},
		{"contradiction", container("securityContext: {privileged: true, allowPrivilegeEscalation: false}"), []string{
			"spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"}},
		{"restart policy of a container", container("restartPolicy: Always"), []string{
			"spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"}},
		{"probe of an init container", pod(webContainer + "initContainers: [{name: i, image: i, livenessProbe: {tcpSocket: {port: 80}}}]"), []string{
			"spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"}},
		{"sidecar", pod(webContainer + "initContainers: [{name: i, image: i, restartPolicy: Always, readinessProbe: {tcpSocket: {port: 80}}}]"), nil},
		{"init restart policy", pod(webContainer + "initContainers: [{name: i, image: i, restartPolicy: Never}]"), []string{
			`spec.initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always"`}},
	})
}

func TestProbeValidation(t *testing.T) {
	runFailCases(t, "pods", []failCase{
		{"no handler", container("livenessProbe: {}"), []string{"spec.containers[0].livenessProbe: Required value: must specify a handler type"}},
		{"two handlers", container("livenessProbe: {exec: {command: [ls]}, tcpSocket: {port: 80}}"), []string{
			"spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"}},
		{"no command", container("readinessProbe: {exec: {}}"), []string{"spec.containers[0].readinessProbe.exec.command: Required value"}},
		{"success threshold", container("livenessProbe: {successThreshold: 2, exec: {command: [ls]}}"), []string{
			"spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"}},
		{"negative", container("readinessProbe: {initialDelaySeconds: -1, exec: {command: [ls]}}"), []string{
			"spec.containers[0].readinessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0"}},
		{"port", container("startupProbe: {httpGet: {port: 0, scheme: FTP}}"), []string{
			"spec.containers[0].startupProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
			`spec.containers[0].startupProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"`}},
		{"hook", container("lifecycle: {preStop: {}, postStart: {exec: {command: [ls]}}}"), []string{
			"spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"}},
		{"sleep", container("lifecycle: {preStop: {sleep: {seconds: 31}}}"), []string{
			"spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"}},
		{"grace of a readiness probe", container("readinessProbe: {terminationGracePeriodSeconds: 5, exec: {command: [ls]}}"), []string{
			"spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"}},
	})
}

func TestVolumeValidation(t *testing.T) {
	volumes := func(text string) string { return pod(webContainer + "volumes:\n" + text) }
	runFailCases(t, "pods", []failCase{
		{"no name", volumes("- emptyDir: {}"), []string{"spec.volumes[0].name: Required value"}},
		{"twice", volumes("- {name: a}\n- {name: a}"), []string{`spec.volumes[1].name: Duplicate value: "a"`}},
		{"two types", volumes("- {name: a, emptyDir: {}, hostPath: {path: /a}}"), []string{
			"spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"}},
		{"no source names", volumes("- {name: a, configMap: {}}\n- {name: b, secret: {}}\n- {name: c, hostPath: {path: ''}}"), []string{
			"spec.volumes[0].configMap.name: Required value", "spec.volumes[1].secret.secretName: Required value",
			"spec.volumes[2].hostPath.path: Required value"}},
		{"modes", volumes("- {name: a, configMap: {name: c, defaultMode: 512}}"), []string{
			"spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"}},
		{"items", volumes("- {name: a, secret: {secretName: s, items: [{key: k, path: ../x}, {path: /y}]}}"), []string{
			`spec.volumes[0].secret.items[0].path: Invalid value: "../x": must not contain '..'`,
			"spec.volumes[0].secret.items[1].key: Required value",
			`spec.volumes[0].secret.items[1].path: Invalid value: "/y": must be a relative path`}},
		{"host path", volumes("- {name: a, hostPath: {path: /a/../b, type: Folder}}"), []string{
			`spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
			`spec.volumes[0].hostPath.type: Unsupported value: "Folder": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"`}},
		{"downward", volumes("- {name: a, downwardAPI: {items: [{path: x}, {path: z, fieldRef: {fieldPath: spec.nodeName}}]}}"), []string{
			"spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
			`spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"`}},
		{"projected", volumes("- name: a\n  projected:\n    sources:\n    - {configMap: {name: a, items: [{key: k, path: p}]}}\n    - {secret: {name: a, items: [{key: k, path: p}]}}\n    - {serviceAccountToken: {path: token, expirationSeconds: 5}}"), []string{
			`spec.volumes[0].projected: Invalid value: "p": conflicting duplicate paths`,
			"spec.volumes[0].projected.sources[2].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"}},
	})
}

func TestSchedulingValidation(t *testing.T) {
	runFailCases(t, "pods", []failCase{
		{"tolerations", pod(webContainer + "tolerations:\n- {operator: Equal}\n- {key: a, operator: Exists, value: b}\n- {key: a, effect: Never, operator: Exists}\n- {key: a, operator: Is}\n- {key: a, operator: Exists, tolerationSeconds: 3, effect: NoSchedule}"), []string{
			"spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
			"spec.tolerations[1].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
			`spec.tolerations[2].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
			`spec.tolerations[3].operator: Unsupported value: "Is": supported values: "Equal", "Exists"`,
			"spec.tolerations[4].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"}},
		{"node selector", pod(webContainer + "nodeSelector: {'a b': c}"), []string{
			`spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`}},
		{"node affinity", pod(webContainer + "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}}"), []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"}},
		{"spread", pod(webContainer + "topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: Hope}]"), []string{
			"spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
			`spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Hope": supported values: "DoNotSchedule", "ScheduleAnyway"`}},
		{"gates on a node", pod(webContainer + "nodeName: node-1\nschedulingGates: [{name: a/b}]"), []string{
			"spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"}},
	})
}

func TestPodUpdate(t *testing.T) {
	base := "containers: [{name: web, image: %s, command: [%s]}]\nserviceAccountName: default\npriority: 0\npreemptionPolicy: PreemptLowerPriority\nautomountServiceAccountToken: false\n"
	for _, c := range []struct {
		name, spec string
		want       string
	}{
		{"same", fmt.Sprintf(base, "nginx:1", "run"), ""},
		{"image", fmt.Sprintf(base, "nginx:2", "run"), ""},
		{"deadline", fmt.Sprintf(base, "nginx:1", "run") + "activeDeadlineSeconds: 5", ""},
		{"command", fmt.Sprintf(base, "nginx:1", "stop"), "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"},
		{"fewer containers", "containers: []", "spec.containers: Forbidden: pod updates may not add or remove containers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kinds := newTable(testConfig())
			old := kinds.create(t, "pods", pod(fmt.Sprintf(base, "nginx:1", "run")+"tolerations: []")).obj
			// The tolerations that admission added stay: a client that sends the whole Pod has them.
			manifest := kinds.decode(t, "pods", pod(c.spec)).(*corev1.Pod)
			manifest.Spec.Tolerations = old.(*corev1.Pod).Spec.Tolerations
			result := kinds.change(t, "pods", old, text(t, manifest))
			got := strings.Join(result.lines(), "\n")
			if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
			wantGeneration := int64(1)
			if c.name != "same" {
				wantGeneration = 2
			}
			if result.obj.GetGeneration() != wantGeneration {
				t.Errorf("generation %d, want %d", result.obj.GetGeneration(), wantGeneration)
			}
		})
	}
}

func TestPodTolerationsUpdate(t *testing.T) {
	kinds := newTable(testConfig())
	old := kinds.create(t, "pods", pod(webContainer)).obj
	changed := old.DeepCopyObject().(*corev1.Pod)
	changed.Spec.Tolerations = changed.Spec.Tolerations[:1]
	equalLines(t, "errors", kinds.change(t, "pods", old, text(t, changed)).lines(), []string{
		"spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"})
}

func TestPodStatusUpdate(t *testing.T) {
	kinds := newTable(testConfig())
	old := kinds.create(t, "pods", pod(webContainer+"restartPolicy: Never")).obj.(*corev1.Pod)
	old.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	pod := old.DeepCopy()
	pod.Spec.NodeName = "elsewhere"
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	pod.Status.QOSClass = corev1.PodQOSGuaranteed
	pod.Status.PodIPs = []corev1.PodIP{{IP: "10.244.0"}}
	status := kinds["pods"].Status
	status.PrepareForUpdate(pod, old)
	if pod.Spec.NodeName != "" {
		t.Error("a status update changed spec.nodeName")
	}
	equalLines(t, "errors", created{errs: status.ValidateUpdate(pod, old)}.lines(), []string{
		`status.podIPs[0]: Invalid value: "10.244.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
		`status.qosClass: Invalid value: "Guaranteed": field is immutable`,
		"status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
	})
}
