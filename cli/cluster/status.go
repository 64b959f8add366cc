package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/proxy"
)

// Status is what `kubelite status` shows.
type Status struct {
	Name       string     `json:"name"`
	Running    bool       `json:"running"` // every process that should run does
	Server     string     `json:"server"`
	Kubeconfig string     `json:"kubeconfig"`
	ProxyMode  proxy.Mode `json:"proxyMode"`
	// LoadBalancer is "pool", or "node": then the nodes' addresses serve, and Network's range for load balancers does not.
	LoadBalancer string      `json:"loadBalancer"`
	Network      lab.Network `json:"network"`
	// LaptopAddresses, PodCIDRs and ServiceCIDRs are those of all families, IPv4 first.
	LaptopAddresses []netip.Addr    `json:"laptopAddresses"`
	PodCIDRs        []netip.Prefix  `json:"podCIDRs"`
	ServiceCIDRs    []netip.Prefix  `json:"serviceCIDRs"`
	Nodes           []NodeStatus    `json:"nodes"`
	Processes       []ProcessStatus `json:"processes"`
	// Memory is the sum of all processes' PSS in bytes.
	Memory int64 `json:"memory"`
	// Problem says why the API server's part is missing; empty if it is not.
	Problem string `json:"problem,omitempty"`
}

// NodeStatus is one node as the lab and the API server know it. The lists are of all families; Address and PodCIDR are their first.
type NodeStatus struct {
	Name      string       `json:"name"`
	Address   string       `json:"address"`
	Addresses []netip.Addr `json:"addresses"`
	PodCIDR   string       `json:"podCIDR,omitempty"`
	PodCIDRs  []string     `json:"podCIDRs,omitempty"`
	Status    string       `json:"status"` // Ready, NotReady or Unknown
	Pods      int          `json:"pods"`
}

// ProcessStatus is one kind of process. PID is 0 where several are counted together, or none runs.
type ProcessStatus struct {
	Name   string `json:"name"`
	PID    int    `json:"pid,omitempty"`
	Count  int    `json:"count"`
	Memory int64  `json:"memory"` // PSS in bytes
}

// Status looks at the cluster as it is now. What cannot be asked is left out and said in Problem.
func (c *Cluster) Status(ctx context.Context) (*Status, error) {
	status := &Status{
		Name:            c.Name(),
		Running:         true,
		Server:          c.serverURL(),
		Kubeconfig:      c.Kubeconfig(),
		ProxyMode:       c.ProxyMode,
		LoadBalancer:    c.LoadBalancer,
		Network:         c.Network,
		LaptopAddresses: c.Network.LaptopAddresses(),
		PodCIDRs:        c.Network.PodCIDRs(),
		ServiceCIDRs:    c.Network.ServiceCIDRs(),
	}
	counted := map[int]bool{}
	for _, p := range c.processes() {
		row := ProcessStatus{Name: p.name, PID: p.pid()}
		if p.name != "server" {
			row.Name = "agent " + p.name
		}
		if row.PID == 0 {
			status.Running = false
		} else {
			row.Count, counted[row.PID] = 1, true
			if size, err := pss(row.PID); err == nil { // it may end while we look
				row.Memory = size
			}
		}
		status.Processes = append(status.Processes, row)
	}
	others, err := c.otherProcesses(counted)
	if err != nil {
		return nil, err
	}
	status.Processes = append(status.Processes, others...)
	for _, row := range status.Processes {
		status.Memory += row.Memory
	}
	if err := c.addNodes(ctx, status); err != nil {
		status.Problem = err.Error()
	}
	return status, nil
}

// otherProcesses sums up the kubelite and conmon processes that run in the cluster beside its components: DNS Pods and the
// containers' monitors.
func (c *Cluster) otherProcesses(counted map[int]bool) ([]ProcessStatus, error) {
	inside, err := lab.Inhabitants(c.Name())
	if err != nil {
		return nil, err
	}
	grouped, err := c.cgroupProcesses()
	if err != nil {
		return nil, err
	}
	rows := map[string]*ProcessStatus{}
	for _, pid := range append(inside, grouped...) {
		if counted[pid] || pid == os.Getpid() {
			continue
		}
		counted[pid] = true
		arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		argv := strings.Split(string(arguments), "\x00")
		name := ""
		switch {
		case strings.HasSuffix(argv[0], "conmon"):
			name = "conmon"
		case argv[0] == "/kubelite" && len(argv) > 1:
			name = argv[1] + " Pods"
		default:
			continue
		}
		if rows[name] == nil {
			rows[name] = &ProcessStatus{Name: name}
		}
		rows[name].Count++
		if size, err := pss(pid); err == nil { // it may end while we look
			rows[name].Memory += size
		}
	}
	var list []ProcessStatus
	for _, row := range rows {
		list = append(list, *row)
	}
	slices.SortFunc(list, func(a, b ProcessStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// addNodes asks the API server for the nodes. The lab's are listed even if it does not answer.
func (c *Cluster) addNodes(ctx context.Context, status *Status) error {
	for _, node := range c.Network.NodeList() {
		status.Nodes = append(status.Nodes, NodeStatus{Name: node.Name, Address: node.Address.String(), Addresses: addressesOf(node), Status: "Unknown"})
	}
	if c.process("server").pid() == 0 {
		return fmt.Errorf("the API server is not running: start it with `kubelite up --name %s`", c.Name())
	}
	client, err := c.Client()
	if errors.Is(err, fs.ErrPermission) {
		return errors.New("only root sees the processes' memory and the administrator's view of the nodes: run it with sudo")
	}
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range status.Nodes {
		row := &status.Nodes[i]
		for _, node := range nodes.Items {
			if node.Name == row.Name {
				row.PodCIDR, row.PodCIDRs, row.Status = node.Spec.PodCIDR, node.Spec.PodCIDRs, readiness(&node)
			}
		}
		for _, pod := range pods.Items {
			if pod.Spec.NodeName == row.Name {
				row.Pods++
			}
		}
	}
	return nil
}

func readiness(node *corev1.Node) string {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return "Ready"
		}
	}
	return "NotReady"
}

// missing are the processes that should run and do not.
func (s *Status) missing() []string {
	var names []string
	for _, row := range s.Processes {
		if row.PID == 0 && row.Count == 0 {
			names = append(names, row.Name)
		}
	}
	return names
}

// Print writes the status for a person.
func (s *Status) Print(out io.Writer) error {
	state := "running"
	if missing := s.missing(); len(missing) == len(s.Nodes)+1 {
		state = "not running"
	} else if len(missing) > 0 {
		state = "running without " + strings.Join(missing, ", ") + "; `kubelite up` starts what is missing"
	}
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintf(table, "cluster\t%s (%s)\n", s.Name, state)
	fmt.Fprintf(table, "API server\t%s, and https://%s:%d for nodes and Pods\n", s.Server, s.Network.Server, serverPort)
	fmt.Fprintf(table, "kubeconfig\t%s\n", s.Kubeconfig)
	fmt.Fprintf(table, "laptop\t%s\n", commaSeparated(s.LaptopAddresses))
	if s.LoadBalancer == "node" {
		fmt.Fprintln(table, "load balancers\tthe nodes' own addresses")
	} else {
		fmt.Fprintf(table, "load balancers\t%s\n", s.Network.LoadBalancers)
	}
	fmt.Fprintf(table, "Pods\t%s\n", commaSeparated(s.PodCIDRs))
	fmt.Fprintf(table, "Services\t%s, node ports %s\n", commaSeparated(s.ServiceCIDRs), s.Network.NodePorts)
	fmt.Fprintf(table, "Service proxy\t%s\n", s.ProxyMode)
	fmt.Fprintln(table)
	fmt.Fprintln(table, "NODE\tADDRESS\tPODS\tPOD RANGE\tSTATUS")
	for _, node := range s.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", node.Name, commaSeparated(node.Addresses), node.Pods, cmp.Or(strings.Join(node.PodCIDRs, ","), "<none>"), node.Status)
	}
	fmt.Fprintln(table)
	fmt.Fprintln(table, "PROCESS\tPID\tCOUNT\tMEMORY (PSS)")
	for _, row := range s.Processes {
		pid := "-"
		if row.PID != 0 {
			pid = fmt.Sprint(row.PID)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", row.Name, pid, row.Count, mebibytes(row.Memory))
	}
	fmt.Fprintf(table, "total\t\t\t%s\n", mebibytes(s.Memory))
	if s.Problem != "" {
		fmt.Fprintf(table, "\n%s\n", s.Problem)
	}
	return table.Flush()
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
