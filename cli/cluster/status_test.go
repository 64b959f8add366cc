package cluster

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/cli/lab"
)

func TestStatusNamesAllFamilies(t *testing.T) {
	network := lab.DefaultNetwork("test", 1)
	network.DualStack = true
	status := &Status{
		Name: "test", Server: "https://127.0.0.1:6443", Kubeconfig: "/kubeconfig", ProxyMode: "nftables", LoadBalancer: "node", Network: network,
		LaptopAddresses: network.LaptopAddresses(), PodCIDRs: network.PodCIDRs(), ServiceCIDRs: network.ServiceCIDRs(),
		Processes: []ProcessStatus{{Name: "server", PID: 7, Count: 1, Memory: 1 << 20}},
		Memory:    1 << 20,
	}
	for _, node := range network.NodeList() {
		status.Nodes = append(status.Nodes, NodeStatus{
			Name: node.Name, Addresses: addressesOf(node), PodCIDRs: []string{"10.244.0.0/24", "fd00:10:244::/64"}, Status: "Ready", Pods: 2,
		})
	}
	want := strings.TrimPrefix(`
cluster          test (running)
API server       https://127.0.0.1:6443, and https://192.168.1.1:6443 for nodes and Pods
kubeconfig       /kubeconfig
laptop           192.168.1.10,fd00:192:168:1::10
load balancers   the nodes' own addresses
Pods             10.244.0.0/16,fd00:10:244::/56
Services         10.96.0.0/12,fd00:10:96::/112, node ports 30000-32767
Service proxy    nftables

NODE     ADDRESS                         PODS   POD RANGE                        STATUS
node-1   192.168.1.2,fd00:192:168:1::2   2      10.244.0.0/24,fd00:10:244::/64   Ready

PROCESS   PID   COUNT   MEMORY (PSS)
server    7     1       1.0 MiB
total                   1.0 MiB
`, "\n")
	var printed bytes.Buffer
	if err := status.Print(&printed); err != nil {
		t.Fatal(err)
	}
	if printed.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", printed.String(), want)
	}
}
