package announce

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// underlay is a bridge with a laptop and nodes on it, each an announcer.
type underlay struct {
	t      *testing.T
	hub    string // path of the bridge's namespace
	laptop *os.File
	nodes  []*speaking
}

// speaking is a node with its announcer.
type speaking struct {
	station
	name string
	stop context.CancelFunc
	done chan error
}

func newUnderlay(t *testing.T, count int) *underlay {
	u := &underlay{t: t, hub: netnstest.New(t)}
	u.on(u.hub, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "bridge"
		bridge := &netlink.Bridge{LinkAttrs: attributes}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	})
	u.laptop = u.plug("laptop").socket(t)
	authority := newAuthority(t)
	objects := fake.NewClientset(balanced("web", vip.String()))
	for i := range count {
		name := fmt.Sprintf("node-%d", i+1)
		u.nodes = append(u.nodes, &speaking{station: u.plug(name), name: name})
		if err := objects.Tracker().Add(node(name, corev1.ConditionTrue, nil)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range u.nodes {
		n.start(t, objects, identityFor(t, authority, "system:node:"+n.name))
	}
	return u
}

func (n *speaking) start(t *testing.T, api kubernetes.Interface, identity identity) {
	var ctx context.Context
	ctx, n.stop = context.WithCancel(t.Context())
	n.done = make(chan error, 1)
	go func() {
		n.done <- run(ctx, Config{NodeName: n.name, Interface: "eth0", Namespace: n.path}, identity, api)
	}()
	t.Cleanup(func() { n.stop(); <-n.done })
}

func (u *underlay) on(path string, f func() error) {
	u.t.Helper()
	if err := netns.Do(path, f); err != nil {
		u.t.Fatal(err)
	}
}

// plug makes a station whose cable ends at the bridge, under the station's name.
func (u *underlay) plug(name string) station {
	u.t.Helper()
	made := station{path: netnstest.New(u.t)}
	peer, err := vnetns.GetFromPath(made.path)
	if err != nil {
		u.t.Fatal(err)
	}
	defer peer.Close()
	u.on(u.hub, func() error {
		bridge, err := netlink.LinkByName("bridge")
		if err != nil {
			return err
		}
		attributes := netlink.NewLinkAttrs()
		attributes.Name, attributes.MasterIndex = name, bridge.Attrs().Index
		cable := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(peer)}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		return netlink.LinkSetUp(cable)
	})
	u.on(made.path, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		made.hardware = link.Attrs().HardwareAddr
		return netlink.LinkSetUp(link)
	})
	return made
}

// answeredBy asks who has the address until the wanted node alone answers a question, and returns how long that took. Answers
// come within a few milliseconds; each question waits 50 ms for them.
func (u *underlay) answeredBy(want *speaking) time.Duration {
	u.t.Helper()
	started := time.Now()
	request := arp{operation: operationRequest, senderHardware: asker, sender: laptop, targetHardware: make([]byte, 6), target: vip}
	buffer := make([]byte, 1514)
	for time.Since(started) < 20*time.Second {
		if _, err := u.laptop.Write(request.frame(broadcast)); err != nil {
			u.t.Fatal(err)
		}
		asked := time.Now()
		answers := map[string]bool{}
		for {
			if err := u.laptop.SetReadDeadline(asked.Add(50 * time.Millisecond)); err != nil {
				u.t.Fatal(err)
			}
			length, err := u.laptop.Read(buffer)
			if err != nil {
				break
			}
			if message, err := parseFrame(buffer[:length]); err == nil && message.operation == operationReply && message.sender == vip {
				answers[message.senderHardware.String()] = true
			}
		}
		if len(answers) == 1 && answers[want.hardware.String()] {
			return time.Since(started)
		}
	}
	u.t.Fatalf("%s alone does not answer", want.name)
	return 0
}

// by returns the nodes in the order in which they come to answer.
func (u *underlay) by(address netip.Addr) []*speaking {
	left := append([]*speaking{}, u.nodes...)
	var order []*speaking
	for len(left) > 0 {
		names := make([]string, len(left))
		for i, n := range left {
			names[i] = n.name
		}
		for i, n := range left {
			if n.name == announcer(address, names) {
				order = append(order, n)
				left = append(left[:i], left[i+1:]...)
				break
			}
		}
	}
	return order
}

// setLink sets the bridge's end of a node's cable.
func (u *underlay) setLink(path, name string, set func(netlink.Link) error) {
	u.t.Helper()
	u.on(path, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return set(link)
	})
}

// TestNetnsFailOver takes away the node that answers, in every way, without the API server noticing. The times are those until
// the laptop's questions are answered by the next node.
func TestNetnsFailOver(t *testing.T) {
	u := newUnderlay(t, 4)
	order := u.by(vip)
	u.answeredBy(order[0])

	u.setLink(order[0].path, "eth0", netlink.LinkSetDown)
	t.Logf("its own link set down: %v", u.answeredBy(order[1]))
	u.setLink(order[0].path, "eth0", netlink.LinkSetUp)
	t.Logf("and up again: %v", u.answeredBy(order[0]))

	u.setLink(u.hub, order[0].name, netlink.LinkSetDown)
	t.Logf("its cable unplugged: %v", u.answeredBy(order[1]))
	u.setLink(u.hub, order[0].name, netlink.LinkSetUp)
	t.Logf("and plugged in: %v", u.answeredBy(order[0]))

	// The carrier stays; the node hears nobody, and takes all others for dead.
	u.setLink(u.hub, order[0].name, netlink.LinkSetNoMaster)
	t.Logf("the network parted: %v", u.answeredBy(order[1]))
	u.on(u.hub, func() error {
		bridge, err := netlink.LinkByName("bridge")
		if err != nil {
			return err
		}
		port, err := netlink.LinkByName(order[0].name)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(port, bridge)
	})
	t.Logf("and joined: %v", u.answeredBy(order[0]))

	order[0].stop()
	t.Logf("its agent gone: %v", u.answeredBy(order[1]))
	order[1].stop()
	order[2].stop()
	t.Logf("two more gone at once: %v", u.answeredBy(order[3]))
}
