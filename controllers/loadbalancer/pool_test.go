package loadbalancer

import (
	"errors"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestChoose(t *testing.T) {
	pool, err := NewPool(netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("192.168.1.202"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		requested, held string
		taken           []string
		want            string
		err             error
	}{
		"the lowest":               {want: "192.168.1.200"},
		"the lowest free":          {taken: []string{"192.168.1.200", "192.168.1.202"}, want: "192.168.1.201"},
		"what it has":              {held: "192.168.1.202", want: "192.168.1.202"},
		"what it has is another's": {held: "192.168.1.202", taken: []string{"192.168.1.202"}, want: "192.168.1.200"},
		"what it has is outside":   {held: "10.0.0.1", want: "192.168.1.200"},
		"what it asks for":         {requested: "192.168.1.201", held: "192.168.1.200", want: "192.168.1.201"},
		"what it asks for: taken":  {requested: "192.168.1.201", taken: []string{"192.168.1.201"}, err: ErrTaken},
		"what it asks for: other":  {requested: "192.168.1.203", err: ErrOutside},
		"exhausted":                {taken: []string{"192.168.1.200", "192.168.1.201", "192.168.1.202"}, err: ErrExhausted},
	}
	parse := func(text string) netip.Addr {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Addr{}
		}
		return address
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			taken := map[netip.Addr]bool{}
			for _, address := range test.taken {
				taken[parse(address)] = true
			}
			got, err := pool.choose(parse(test.requested), parse(test.held), func(address netip.Addr) bool { return taken[address] })
			if !errors.Is(err, test.err) || got != parse(test.want) {
				t.Errorf("got %s, %v, want %s, %v", got, err, test.want, test.err)
			}
		})
	}
	if _, err := NewPool(pool.Last, pool.First); err == nil {
		t.Error("a range that ends before it starts is accepted")
	}
}

// An IPv4 address does not lead to a Service of IPv6 only.
func TestPoolHasOneFamily(t *testing.T) {
	pool, err := NewPool(netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("192.168.1.201"))
	if err != nil {
		t.Fatal(err)
	}
	b := newPoolBalancer(pool)
	six := service("six", func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} })
	if status, _, err := b.assign(six); !errors.Is(err, ErrFamily) || len(status.Ingress) > 0 || b.holds("default/six") {
		t.Errorf("IPv6 only: %v, %v", status, err)
	}
	six.Spec.IPFamilies = append(six.Spec.IPFamilies, corev1.IPv4Protocol)
	if status, _, err := b.assign(six); err != nil || len(status.Ingress) != 1 {
		t.Errorf("dual stack: %v, %v", status, err)
	}
}

// A Service that moves to the address that it asks for leaves its own to others.
func TestPoolAddressesMove(t *testing.T) {
	pool, err := NewPool(netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("192.168.1.201"))
	if err != nil {
		t.Fatal(err)
	}
	b := newPoolBalancer(pool)
	assign := func(name, want string, freed bool, change ...func(*corev1.Service)) {
		t.Helper()
		status, gotFreed, err := b.assign(service(name, change...))
		if err != nil || status.Ingress[0].IP != want || gotFreed != freed {
			t.Errorf("%s: %v, freed %t, %v; want %s, %t", name, status, gotFreed, err, want, freed)
		}
	}
	asking := func(address string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.LoadBalancerIP = address }
	}
	assign("first", "192.168.1.200", false)
	assign("first", "192.168.1.200", false)
	assign("first", "192.168.1.201", true, asking("192.168.1.201"))
	assign("second", "192.168.1.200", false)
	if _, freed, err := b.assign(service("second", asking("192.168.1.201"))); !errors.Is(err, ErrTaken) || !freed || b.holds("default/second") {
		t.Errorf("another's: %v, freed %t", err, freed)
	}
	assign("third", "192.168.1.200", false)
	if !b.release("default/third") || b.release("default/third") || b.holds("default/third") {
		t.Error("released, and not")
	}
	assign("fourth", "192.168.1.200", false)
}

// Who asks for what is no address hears where he did.
func TestRequestsNoAddress(t *testing.T) {
	for by, change := range map[string]func(*corev1.Service){
		"annotation kubelite.io/load-balancer-ip": func(s *corev1.Service) { s.Annotations = map[string]string{Annotation: "web"} },
		"annotation metallb.io/loadBalancerIPs":   func(s *corev1.Service) { s.Annotations = map[string]string{annotationMetalLB: " web, 192.168.1.201"} },
		"spec.loadBalancerIP":                     func(s *corev1.Service) { s.Spec.LoadBalancerIP = "web" },
	} {
		_, err := requestedAddress(service("asking", change))
		if want := by + `: "web" is no address, as 192.168.1.200`; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
