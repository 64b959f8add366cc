package announce

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// station is one end of the cable: a namespace with an eth0 and a packet socket on it.
type station struct {
	path     string
	hardware net.HardwareAddr
}

// cable joins two new namespaces by a veth pair; the first gets the address 192.168.1.10.
func cable(t *testing.T) (laptop, node station) {
	t.Helper()
	laptop.path, node.path = netnstest.New(t), netnstest.New(t)
	peer, err := vnetns.GetFromPath(node.path)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	err = netns.Do(laptop.path, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "eth0"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(peer)})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []*station{&laptop, &node} {
		err := netns.Do(end.path, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			end.hardware = link.Attrs().HardwareAddr
			return netlink.LinkSetUp(link)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = netns.Do(laptop.path, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr("192.168.1.10/24")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, address)
	})
	if err != nil {
		t.Fatal(err)
	}
	return laptop, node
}

func (s station) socket(t *testing.T) *os.File {
	t.Helper()
	var socket *os.File
	err := netns.Do(s.path, func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		socket, err = openSocket(link.Index, etherTypeARP)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

// next returns the next ARP message that has one of the senders; a deadline only ends a test that hangs.
func next(t *testing.T, socket *os.File, senders ...netip.Addr) arp {
	t.Helper()
	if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1514)
	for {
		length, err := socket.Read(buffer)
		if err != nil {
			t.Fatalf("wait for ARP from %s: %v", senders, err)
		}
		if message, err := parseFrame(buffer[:length]); err == nil && slices.Contains(senders, message.sender) {
			return message
		}
	}
}

func TestNetnsRunAnswersForItsAddresses(t *testing.T) {
	client, server := cable(t)
	socket := client.socket(t)
	api := fake.NewClientset(node("node-1", corev1.ConditionTrue, nil), balanced("web", vip.String()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, Config{NodeName: "node-1", Interface: "eth0", Namespace: server.path}, identityOfNode(t, "node-1"), api)
	}()
	announced := next(t, socket, vip)
	if announced.target != vip || announced.operation != operationRequest || announced.senderHardware.String() != server.hardware.String() {
		t.Errorf("announced %+v, the node has %s", announced, server.hardware)
	}

	// The laptop's own kernel asks, because it wants to send.
	err := netns.Do(client.path, func() error {
		conn, err := net.Dial("udp", vip.String()+":9")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	reply := next(t, socket, vip)
	if reply.operation != operationReply || reply.senderHardware.String() != server.hardware.String() || reply.target != laptop {
		t.Errorf("answered %+v, the node has %s", reply, server.hardware)
	}

	// A second Service is announced when it gets its address; the first one's is given up when it is deleted.
	second := netip.MustParseAddr("192.168.1.201")
	if _, err := api.CoreV1().Services("default").Create(ctx, balanced("other", second.String()), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	next(t, socket, second)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestNetnsResponderIgnoresOthersAddresses(t *testing.T) {
	client, server := cable(t)
	socket := client.socket(t)
	r, err := newResponder(server.path, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.serve() }()
	r.announce([]netip.Addr{vip})
	other := netip.MustParseAddr("192.168.1.222")
	for _, target := range []netip.Addr{other, vip} {
		request := arp{operation: operationRequest, senderHardware: client.hardware, sender: laptop, targetHardware: make(net.HardwareAddr, 6), target: target}
		if _, err := socket.Write(request.frame(broadcast)); err != nil {
			t.Fatal(err)
		}
	}
	// Requests are answered in order: had the other one been answered, its answer would come first.
	buffer := make([]byte, 1514)
	for {
		length, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		message, err := parseFrame(buffer[:length])
		if err != nil || message.operation != operationReply {
			continue
		}
		if message.sender != vip {
			t.Errorf("%s was answered for", message.sender)
		}
		break
	}
	if added, removed := r.announce(nil); len(added) != 0 || len(removed) != 1 {
		t.Errorf("giving up: added %v, removed %v", added, removed)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A node that is heard again gets its addresses back; the others insist on their own ones only.
func TestNetnsInsistsOnItsOwnAddresses(t *testing.T) {
	client, server := cable(t)
	socket := client.socket(t)
	names := []string{"node-1", "node-2"}
	kept, lent := vip, vip
	for announcer(kept, names) != "node-1" {
		kept = kept.Next()
	}
	for announcer(lent, names) != "node-2" {
		lent = lent.Next()
	}
	api := fake.NewClientset(node("node-1", corev1.ConditionTrue, nil), node("node-2", corev1.ConditionTrue, nil),
		balanced("kept", kept.String()), balanced("lent", lent.String()))
	responder, err := newResponder(server.path, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { responder.close() })
	s := &speaker{
		node: "node-1", watch: newWatch(t.Context(), api), responder: responder, liveness: newLiveness("node-1"),
		able: names, beats: true, timer: time.NewTimer(time.Hour),
	}
	for !s.watch.synced() {
		<-s.watch.changed
	}
	now := time.Now()
	for _, step := range []error{s.look(now), s.look(now.Add(patience)), s.hear("node-2", now.Add(2*patience))} {
		if step != nil {
			t.Fatal(step)
		}
	}
	// At first, when node-2 is silent, when it is heard, and again two seconds later.
	for i, want := range []netip.Addr{kept, lent, kept, kept} {
		if got := next(t, socket, kept, lent).sender; got != want {
			t.Errorf("announcement %d is of %s, want %s", i, got, want)
		}
	}
}

func TestNetnsMissingInterface(t *testing.T) {
	if _, err := newResponder(netnstest.New(t), "eth7"); err == nil || err.Error() != "find interface eth7: route ip+net: no such network interface" {
		t.Errorf("got %v", err)
	}
}

func TestNetnsInterfaceGoesDownAndAway(t *testing.T) {
	client, server := cable(t)
	socket := client.socket(t)
	api := fake.NewClientset(node("node-1", corev1.ConditionTrue, nil), balanced("web", vip.String()))
	done := make(chan error, 1)
	go func() {
		done <- run(t.Context(), Config{NodeName: "node-1", Interface: "eth0", Namespace: server.path}, identityOfNode(t, "node-1"), api)
	}()
	next(t, socket, vip)
	change := func(path string, change func(netlink.Link) error) {
		t.Helper()
		err := netns.Do(path, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return change(link)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(server.path, netlink.LinkSetDown)
	change(server.path, netlink.LinkSetUp)
	for reply := (arp{}); reply.operation != operationReply; reply = next(t, socket, vip) { // the second announcement may come first
		request := arp{operation: operationRequest, senderHardware: client.hardware, sender: laptop, targetHardware: make(net.HardwareAddr, 6), target: vip}
		if _, err := socket.Write(request.frame(broadcast)); err != nil {
			t.Fatal(err)
		}
	}
	change(client.path, netlink.LinkDel) // and its peer with it
	select {
	case err := <-done:
		if !errors.Is(err, errInterfaceGone) {
			t.Errorf("got %v, want %v", err, errInterfaceGone)
		}
	case <-time.After(20 * time.Second):
		t.Error("the announcer does not see that its interface is gone")
	}
}
