package registry

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func dualConfig() Config {
	config := testConfig()
	config.ServiceCIDRs = append(config.ServiceCIDRs, netip.MustParsePrefix("fd00:10:96::/112"))
	return config
}

// familiesText is "SingleStack IPv4 10.96.0.7": what came of a Service's families, with "*" for chosen addresses.
func familiesText(result created) string {
	if lines := result.lines(); len(lines) > 0 {
		return strings.Join(lines, "\n")
	}
	spec := result.obj.(*corev1.Service).Spec
	text := fmt.Sprint(ptr.Deref(spec.IPFamilyPolicy, "-"), " ", spec.IPFamilies)
	for i, ip := range spec.ClusterIPs {
		address, err := netip.ParseAddr(ip)
		if err == nil && familyOf(address) != spec.IPFamilies[i] {
			text += " wrong:"
		}
		if err == nil && !strings.HasSuffix(ip, ".250") && !strings.HasSuffix(ip, "::fa") {
			ip = "*"
		}
		text += " " + ip
	}
	return text
}

// TestServiceFamilies compares with what kube-apiserver 1.37 answers.
func TestServiceFamilies(t *testing.T) {
	const invalid = `Service "web" is invalid: `
	for _, c := range []struct{ spec, single, dual string }{
		{"", "SingleStack [IPv4] *", "SingleStack [IPv4] *"},
		{"ipFamilyPolicy: PreferDualStack", "PreferDualStack [IPv4] *", "PreferDualStack [IPv4 IPv6] * *"},
		{"ipFamilyPolicy: RequireDualStack", invalid + `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`,
			"RequireDualStack [IPv4 IPv6] * *"},
		{"ipFamilies: [IPv6]", invalid + `spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`, "SingleStack [IPv6] *"},
		{"ipFamilies: [IPv6, IPv4]\nipFamilyPolicy: PreferDualStack", invalid + `spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`,
			"PreferDualStack [IPv6 IPv4] * *"},
		{"ipFamilies: [IPv4, IPv6]", invalid + `spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified`,
			invalid + `spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified`},
		{"clusterIP: fd00:10:96::fa", invalid + `spec.clusterIPs[0]: Invalid value: ["fd00:10:96::fa"]: IPv6 is not configured on this cluster`, "SingleStack [IPv6] fd00:10:96::fa"},
		{"clusterIP: 10.96.0.250\nipFamilies: [IPv6]", invalid + "spec.clusterIPs[0]: Invalid value: \"10.96.0.250\": expected an IPv6 value as indicated by `ipFamilies[0]`",
			invalid + "spec.clusterIPs[0]: Invalid value: \"10.96.0.250\": expected an IPv6 value as indicated by `ipFamilies[0]`"},
		{"clusterIP: 10.96.0.250\nclusterIPs: [10.96.0.250, 'fd00:10:96::fa']\nipFamilyPolicy: RequireDualStack",
			invalid + `spec.clusterIPs[1]: Invalid value: ["10.96.0.250","fd00:10:96::fa"]: IPv6 is not configured on this cluster`,
			"RequireDualStack [IPv4 IPv6] 10.96.0.250 fd00:10:96::fa"},
		{"clusterIP: 10.96.0.250\nclusterIPs: [10.96.0.250, 10.96.0.251]\nipFamilyPolicy: PreferDualStack",
			invalid + `spec.clusterIPs: Invalid value: ["10.96.0.250","10.96.0.251"]: may specify no more than one IP for each IP family`,
			invalid + `spec.clusterIPs: Invalid value: ["10.96.0.250","10.96.0.251"]: may specify no more than one IP for each IP family`},
		{"clusterIP: None", "RequireDualStack [IPv4 IPv6] None", "RequireDualStack [IPv4 IPv6] None"},
		{"clusterIP: None\nselector: {a: b}", "SingleStack [IPv4] None", "SingleStack [IPv4] None"},
		{"clusterIP: None\nselector: {a: b}\nipFamilyPolicy: PreferDualStack", "PreferDualStack [IPv4] None", "PreferDualStack [IPv4 IPv6] None"},
		{"clusterIP: None\nipFamilies: [IPv6]\nipFamilyPolicy: SingleStack", "SingleStack [IPv6] None", "SingleStack [IPv6] None"},
	} {
		manifest := service(c.spec + "\nports: [{port: 80}]")
		for want, config := range map[string]Config{"single " + c.single: testConfig(), "dual " + c.dual: dualConfig()} {
			prefix, _, _ := strings.Cut(want, " ")
			if got := prefix + " " + familiesText(newTable(config).create(t, "services", manifest)); got != want {
				t.Errorf("%q is\n%s\nwant\n%s", c.spec, got, want)
			}
		}
	}
}

// TestServiceFamiliesChange: a second family comes and goes by the policy.
func TestServiceFamiliesChange(t *testing.T) {
	const ports = "\nports: [{port: 80}]"
	for _, c := range []struct{ old, now, want string }{
		{"", "ipFamilyPolicy: PreferDualStack", "PreferDualStack [IPv4 IPv6] * *"},
		{"ipFamilyPolicy: PreferDualStack", "", "PreferDualStack [IPv4 IPv6] * *"},
		{"ipFamilyPolicy: RequireDualStack", "ipFamilyPolicy: SingleStack", "SingleStack [IPv4] *"},
		{"ipFamilyPolicy: PreferDualStack", "ipFamilies: [IPv4]",
			`Service "web" is invalid: spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be 'SingleStack' to release the secondary IP family`},
		{"ipFamilyPolicy: PreferDualStack\nclusterIP: 10.96.0.250", "clusterIP: 10.96.0.250\nclusterIPs: [10.96.0.250]",
			`Service "web" is invalid: spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be 'SingleStack' to release the secondary cluster IP`},
		{"clusterIP: 10.96.0.250", "clusterIP: 10.96.0.250\nclusterIPs: [10.96.0.250, 'fd00:10:96::fa']\nipFamilyPolicy: RequireDualStack",
			"RequireDualStack [IPv4 IPv6] 10.96.0.250 fd00:10:96::fa"},
	} {
		kinds := newTable(dualConfig())
		old := kinds.create(t, "services", service(c.old+ports))
		if lines := old.lines(); len(lines) > 0 {
			t.Fatal(lines)
		}
		if got := familiesText(kinds.change(t, "services", old.obj, service(c.now+ports))); got != c.want {
			t.Errorf("%q to %q is\n%s\nwant\n%s", c.old, c.now, got, c.want)
		}
	}
}

func TestServiceCIDRValidation(t *testing.T) {
	cidr := func(cidrs string) string { return "metadata: {name: extra}\nspec: {cidrs: [" + cidrs + "]}" }
	runFailCases(t, "servicecidrs.networking.k8s.io", []failCase{
		{"none", cidr(""), []string{"spec.cidrs: Required value: at least one CIDR required"}},
		{"three", cidr("10.1.0.0/24, 'fd01::/112', 10.2.0.0/24"), []string{
			`spec.cidrs: Invalid value: {"CIDRs":["10.1.0.0/24","fd01::/112","10.2.0.0/24"]}: may only hold up to 2 values`}},
		{"one family", cidr("10.1.0.0/24, 10.2.0.0/24"), []string{
			`spec.cidrs: Invalid value: ["10.1.0.0/24","10.2.0.0/24"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64`}},
		{"two families", cidr("10.1.0.0/24, 'fd01::/112'"), nil},
	})
	kinds := newTable(testConfig())
	old := kinds.create(t, "servicecidrs.networking.k8s.io", cidr("10.1.0.0/24"))
	for manifest, want := range map[string][]string{
		cidr("10.1.0.0/24, 'fd01::/112'"): nil,
		cidr("10.2.0.0/24"):               {`spec.cidrs[0]: Invalid value: "10.2.0.0/24": field is immutable`},
		cidr(""):                          {"spec.cidrs: Invalid value: []: field is immutable"},
	} {
		equalLines(t, manifest, kinds.change(t, "servicecidrs.networking.k8s.io", old.obj, manifest).lines(), want)
	}
}

func TestIPAddressValidation(t *testing.T) {
	address := func(parent string) string {
		return "metadata: {name: 192.0.2.1}\nspec: {parentRef: " + parent + "}"
	}
	runFailCases(t, "ipaddresses.networking.k8s.io", []failCase{
		{"no parent", address("null"), []string{"spec.parentRef: Required value"}},
		{"empty parent", address("{}"), []string{"spec.parentRef.name: Required value", "spec.parentRef.resource: Required value"}},
		{"parent", address("{resource: services, namespace: default, name: web}"), nil},
		{"bad parent", address("{resource: a/b, name: '..'}"), []string{
			`spec.parentRef.name: Invalid value: "..": may not be '..'`, `spec.parentRef.resource: Invalid value: "a/b": may not contain '/'`}},
	})
}

func TestEndpointHints(t *testing.T) {
	slice := func(hints string) string {
		return "metadata: {name: web-1}\naddressType: IPv4\nendpoints: [{addresses: [192.0.2.1], hints: {" + hints + "}}]"
	}
	many := strings.Repeat("{name: x},", 9)
	runFailCases(t, "endpointslices.discovery.k8s.io", []failCase{
		{"too many zones", slice("forZones: [" + many + "]"), []string{"endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"}},
		{"too many nodes", slice("forNodes: [" + many + "]"), []string{"endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"}},
		{"twice", slice("forZones: [{name: a}, {name: a}], forNodes: [{name: b}, {name: b}]"), []string{
			`endpoints[0].hints.forZones[1].name: Duplicate value: "a"`, `endpoints[0].hints.forNodes[1].name: Duplicate value: "b"`}},
	})
}
