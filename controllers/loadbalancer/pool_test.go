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
			got, err := pool.choose(parse(test.requested), parse(test.held), taken)
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
