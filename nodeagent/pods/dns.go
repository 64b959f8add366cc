package pods

import (
	"fmt"
	"os"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// DNS is what a Pod's /etc/resolv.conf is made of.
type DNS struct {
	Servers    []string // the cluster's
	Domain     string   // cluster.local
	HostConfig string   // the node's own resolv.conf, for dnsPolicy Default; empty or not there: none
}

const (
	mostNameservers = 3
	mostSearches    = 32
)

// resolvConf is the Pod's /etc/resolv.conf by its dnsPolicy and dnsConfig.
func (d DNS) resolvConf(pod *v1.Pod) (string, error) {
	var servers, searches, options []string
	policy := pod.Spec.DNSPolicy
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork || policy == v1.DNSDefault {
		var err error
		if servers, searches, options, err = d.readHost(); err != nil {
			return "", err
		}
	} else if policy != v1.DNSNone && len(d.Servers) > 0 {
		servers = slices.Clone(d.Servers)
		searches = []string{pod.Namespace + ".svc." + d.Domain, "svc." + d.Domain, d.Domain}
		_, host, _, err := d.readHost()
		if err != nil {
			return "", err
		}
		searches = append(searches, host...)
		options = []string{"ndots:5"}
	}
	if config := pod.Spec.DNSConfig; config != nil {
		servers = append(servers, config.Nameservers...)
		searches = append(searches, config.Searches...)
		for _, option := range config.Options {
			options = slices.DeleteFunc(options, func(old string) bool { name, _, _ := strings.Cut(old, ":"); return name == option.Name })
			if option.Value != nil {
				options = append(options, option.Name+":"+*option.Value)
			} else {
				options = append(options, option.Name)
			}
		}
	}
	servers, searches = unique(servers), unique(searches)
	var out strings.Builder
	if len(searches) > 0 {
		fmt.Fprintf(&out, "search %s\n", strings.Join(searches[:min(len(searches), mostSearches)], " "))
	}
	for _, server := range servers[:min(len(servers), mostNameservers)] {
		fmt.Fprintf(&out, "nameserver %s\n", server)
	}
	if len(options) > 0 {
		fmt.Fprintf(&out, "options %s\n", strings.Join(options, " "))
	}
	return out.String(), nil
}

func (d DNS) readHost() (servers, searches, options []string, err error) {
	if d.HostConfig == "" {
		return nil, nil, nil, nil
	}
	content, err := os.ReadFile(d.HostConfig)
	if os.IsNotExist(err) {
		return nil, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read the node's resolv.conf: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			servers = append(servers, fields[1])
		case "search":
			searches = fields[1:]
		case "options":
			options = fields[1:]
		}
	}
	return servers, searches, options, nil
}

func unique(values []string) []string {
	var result []string
	for _, value := range values {
		if !slices.Contains(result, value) {
			result = append(result, value)
		}
	}
	return result
}
