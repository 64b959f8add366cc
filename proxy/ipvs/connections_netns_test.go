package ipvs

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/plan"
)

// requireIPVS skips the test where the kernel lacks IPVS.
func requireIPVS(t *testing.T) {
	t.Helper()
	netnstest.RequireRoot(t)
	if err := Check(DefaultScheduler); errors.Is(err, ErrMissingModule) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// pod makes a network namespace behind the calling thread's, with a server that repeats lines after the address's last byte.
func pod(t *testing.T, address string) {
	t.Helper()
	path := netnstest.New(t)
	link := "v" + address[len("10.244.0."):]
	for _, command := range []string{
		"ip link add " + link + " type veth peer name eth0 netns " + path[len(netns.Dir)+1:],
		"ip link set " + link + " up",
		"ip address add 169.254.1.1/32 dev " + link,
		"ip route add " + address + "/32 dev " + link,
	} {
		if _, err := run(command); err != nil {
			t.Fatal(err)
		}
	}
	err := netns.Do(path, func() error {
		for _, command := range []string{"ip link set lo up", "ip link set eth0 up", "ip address add " + address + "/32 dev eth0",
			"ip route add 169.254.1.1 dev eth0", "ip route add default via 169.254.1.1"} {
			if _, err := run(command); err != nil {
				return err
			}
		}
		listener, err := net.Listen("tcp", address+":8080")
		if err != nil {
			return err
		}
		t.Cleanup(func() { listener.Close() })
		go repeat(listener, address)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// repeat ends when the listener is closed.
func repeat(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				fmt.Fprintln(connection, name, lines.Text())
			}
		}()
	}
}

type client struct {
	net.Conn
	lines *bufio.Reader
}

func dial(address string) (*client, error) {
	connection, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{connection, bufio.NewReader(connection)}, nil
}

// ask returns which endpoint answers.
func (c *client) ask() (string, error) {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		return "", err
	}
	var name, word string
	_, err := fmt.Fscan(c.lines, &name, &word)
	return name, err
}

func TestNetnsConnections(t *testing.T) {
	requireIPVS(t)
	in(t, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		pod(t, "10.244.0.2")
		pod(t, "10.244.0.3")
		if err := connections(t); err != nil {
			return err
		}
		return schedulers(t)
	})
}

// connections are all made by the node itself, which is a Service's hardest client: IPVS takes its packets on their way out.
func connections(t *testing.T) error {
	b, err := New(testOptions, Config{StrictARP: true})
	if err != nil {
		return err
	}
	nodePort := func(port *plan.Port) { port.NodePort = 30080 }
	if err := b.Replace(t.Context(), web(nodePort, "10.244.0.2:8080")); err != nil {
		return err
	}
	first, err := dial("10.96.0.10:80")
	if err != nil {
		return err
	}
	defer first.Close()
	if name, err := first.ask(); name != "10.244.0.2" || err != nil {
		t.Errorf("%s answers, %v", name, err)
	}
	// Another endpoint takes over; the connection stays, also over the start of the next process.
	if err := b.Update(t.Context(), web(nodePort, "10.244.0.3:8080")); err != nil {
		return err
	}
	if b, err = New(testOptions, Config{}); err != nil {
		return err
	}
	if err := b.Replace(t.Context(), web(nodePort, "10.244.0.3:8080")); err != nil {
		return err
	}
	if name, err := first.ask(); name != "10.244.0.2" || err != nil {
		t.Errorf("over the change, %s answers, %v", name, err)
	}
	for _, address := range []string{"10.96.0.10:80", "192.168.1.2:30080"} {
		second, err := dial(address)
		if err != nil {
			return err
		}
		defer second.Close()
		if name, err := second.ask(); name != "10.244.0.3" || err != nil {
			t.Errorf("at %s, %s answers, %v", address, name, err)
		}
	}
	s := server{corev1.ProtocolTCP, netip.MustParseAddrPort("10.96.0.10:80")}
	all, err := b.kernel.destinations(s)
	if err != nil {
		return err
	}
	if leaving := all[netip.MustParseAddrPort("10.244.0.2:8080")]; leaving != (destination{0, 1}) {
		t.Errorf("the endpoint that left is %+v", leaving)
	}
	if found, err := b.Difference(t.Context()); found != "" || err != nil {
		t.Errorf("difference %q, %v", found, err)
	}
	if err := b.Update(t.Context(), web(nodePort)); err != nil {
		return err
	}
	if _, err := dial("10.96.0.10:80"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("without endpoints: %v", err)
	}
	if err := Cleanup(t.Context()); err != nil {
		return err
	}
	left, err := b.kernel.servers()
	if len(left) > 0 {
		t.Errorf("virtual servers after Cleanup: %v", left)
	}
	return err
}

// schedulers are changed while a connection is open.
func schedulers(t *testing.T) error {
	var open *client
	for _, scheduler := range Schedulers() {
		b, err := New(testOptions, Config{Scheduler: scheduler})
		if err != nil {
			return err
		}
		if err := b.Replace(t.Context(), web(asIs, "10.244.0.3:8080")); err != nil {
			return err
		}
		if found, err := b.Difference(t.Context()); found != "" || err != nil {
			t.Errorf("%s: difference %q, %v", scheduler, found, err)
		}
		fresh, err := dial("10.96.0.10:80")
		if scheduler == "ovf" { // it sends a destination of weight 1 no connection while it has more than one
			if !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("ovf: %v", err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("scheduler %s: %w", scheduler, err)
		}
		defer fresh.Close()
		if open == nil {
			open = fresh
		}
		for _, c := range []*client{open, fresh} {
			if name, err := c.ask(); name != "10.244.0.3" || err != nil {
				t.Errorf("%s: %s answers, %v", scheduler, name, err)
			}
		}
	}
	return nil
}

// Someone else's changes are found and mended.
func TestNetnsDifference(t *testing.T) {
	requireIPVS(t)
	for change, expected := range map[string]string{
		"ip link delete kube-ipvs0":              "find link kube-ipvs0: Link not found",
		"ip address flush dev kube-ipvs0":        "link kube-ipvs0 has no address 10.96.0.10",
		"ip address add 192.168.1.9/24 dev eth0": "the node's addresses are [192.168.1.2 192.168.1.9] instead of [192.168.1.2]",
		"iptables -t nat -F KUBE-IPVS-SERVICES":  "",
		"iptables -t nat -F PREROUTING":          "",
	} {
		t.Run(change, func(t *testing.T) {
			in(t, func() error {
				b, err := New(testOptions, Config{})
				if err != nil {
					return err
				}
				p := web(asIs, "10.244.0.2:8080")
				if err := b.Replace(t.Context(), p); err != nil {
					return err
				}
				if found, err := b.Difference(t.Context()); found != "" || err != nil {
					t.Errorf("before the change %q, %v", found, err)
				}
				if _, err := run(change); err != nil {
					return err
				}
				found, err := b.Difference(t.Context())
				if err != nil || found == "" || expected != "" && found != expected {
					t.Errorf("found %q, %v", found, err)
				}
				if err := b.Replace(t.Context(), p); err != nil {
					return err
				}
				if found, err := b.Difference(t.Context()); found != "" || err != nil {
					t.Errorf("after the repair %q, %v", found, err)
				}
				return nil
			})
		})
	}
}
