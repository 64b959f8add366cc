package pods

import (
	"fmt"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Limits of the names of a machine, in bytes: of one label (RFC 1035 §2.3.4), and of what Linux keeps.
const (
	longestLabel    = 63
	longestNodename = 64
)

// hostname is the Pod's own name and, if it has a subdomain, the domain that follows it in DNS.
func (d DNS) hostname(pod *v1.Pod, nodeName string) (name, domain string) {
	if override := pod.Spec.HostnameOverride; override != nil {
		return cutHostname(*override), ""
	}
	if pod.Spec.HostNetwork {
		return nodeName, ""
	}
	name = pod.Name
	if pod.Spec.Hostname != "" {
		name = pod.Spec.Hostname
	}
	if pod.Spec.Subdomain != "" {
		domain = pod.Spec.Subdomain + "." + pod.Namespace + ".svc." + d.Domain
	}
	return cutHostname(name), domain
}

func cutHostname(name string) string {
	return strings.TrimRight(name[:min(len(name), longestLabel)], "-.")
}

// nodename is what `hostname` prints in the Pod: its name, and with setHostnameAsFQDN the domain, too.
func (d DNS) nodename(pod *v1.Pod, nodeName string) (string, error) {
	name, domain := d.hostname(pod, nodeName)
	if domain == "" || pod.Spec.SetHostnameAsFQDN == nil || !*pod.Spec.SetHostnameAsFQDN {
		return name, nil
	}
	full := name + "." + domain
	if len(full) > longestNodename {
		return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)",
			full, longestNodename, len(full))
	}
	return full, nil
}

// hostsFile is the Pod's /etc/hosts, as the kubelet writes it.
func (d DNS) hostsFile(pod *v1.Pod, podIPs []string, nodeName string) (string, error) {
	var out strings.Builder
	if pod.Spec.HostNetwork {
		content, err := os.ReadFile("/etc/hosts")
		if err != nil && !os.IsNotExist(err) {
			return "", fmt.Errorf("read the node's /etc/hosts: %w", err)
		}
		out.WriteString("# Kubernetes-managed hosts file (host network).\n")
		out.Write(content)
	} else {
		out.WriteString("# Kubernetes-managed hosts file.\n" +
			"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n" +
			"fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		name, domain := d.hostname(pod, nodeName)
		names := name
		if domain != "" {
			names = name + "." + domain + "\t" + name
		}
		for _, address := range podIPs {
			fmt.Fprintf(&out, "%s\t%s\n", address, names)
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		out.WriteString("\n# Entries added by HostAliases.\n")
		for _, alias := range pod.Spec.HostAliases {
			fmt.Fprintf(&out, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
		}
	}
	return out.String(), nil
}
