package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

// Rules of long shared chains are deleted by handle only while nobody else changed anything; in every case they go, and rules of others
// stay.
func TestNetnsRulesAreDeletedBesideOthers(t *testing.T) {
	variants(t, corev1.IPv4Protocol, func(t *testing.T, one tool) {
		if !one.nft {
			return // x_tables has no handles
		}
		inNamespace(t, func() error {
			ctx, p := context.Background(), manyServices(250)
			b, err := newBackend(nodeOptions, one)
			if err != nil {
				return err
			}
			if err := b.Replace(ctx, p); err != nil {
				return err
			}
			if found, err := b.Difference(ctx); found != "" || err != nil {
				t.Fatal(found, err)
			}
			for number, step := range []struct {
				name     string
				before   func() error
				byHandle bool
			}{
				{"nothing else changed", nil, true},
				{"the Service was added since", func() error {
					if err := b.Update(ctx, plan.Plan{serviceName(1): nil}); err != nil {
						return err
					}
					return b.Update(ctx, plan.Plan{serviceName(1): p[serviceName(1)]})
				}, true},
				{"someone else changed rules", func() error {
					return someoneElse(one, "*nat\n:OTHER - [0:0]\n-I KUBE-SERVICES -m comment --comment other -j OTHER\nCOMMIT\n")
				}, false},
				{"it was never looked again", nil, false},
			} {
				if step.before != nil {
					if err := step.before(); err != nil {
						return err
					}
				}
				if err := b.Update(ctx, plan.Plan{serviceName(number): nil}); err != nil {
					t.Errorf("%s: %v", step.name, err)
				}
				if byHandle := b.seen.handles != nil; byHandle != step.byHandle {
					t.Errorf("%s: deleted by handle: %v", step.name, byHandle)
				}
			}
			kernel, err := one.save(ctx, builtinAndShared)
			if err != nil {
				return err
			}
			if rules := kernel.rules[natServices]; len(rules) != 1+246+1 || rules[0] != "-m comment --comment other -j OTHER" {
				t.Errorf("KUBE-SERVICES has %d rules, first %q", len(rules), rules[0])
			}
			return nil
		})
	})
}

// A Service whose external IP is its load balancer's, too, has the same rule twice where it is refused: both go.
func TestNetnsSameRuleTwiceIsDeleted(t *testing.T) {
	variants(t, corev1.IPv4Protocol, func(t *testing.T, one tool) {
		inNamespace(t, func() error {
			ctx := context.Background()
			b, err := newBackend(nodeOptions, one)
			if err != nil {
				return err
			}
			address := []netip.Addr{netip.MustParseAddr("203.0.113.1")}
			twice := plan.Port{Name: plan.PortName{NamespacedName: serviceName(1)}, Protocol: corev1.ProtocolTCP,
				ClusterIP: netip.MustParseAddr("10.96.0.1"), Port: 80, ExternalIPs: address, LoadBalancerIPs: address}
			other := plan.Port{Name: plan.PortName{NamespacedName: serviceName(2)}, Protocol: corev1.ProtocolTCP,
				ClusterIP: netip.MustParseAddr("10.96.0.2"), Port: 80, ExternalIPs: []netip.Addr{netip.MustParseAddr("203.0.113.2")}}
			if err := b.Replace(ctx, plan.Plan{serviceName(1): {twice}, serviceName(2): {other}}); err != nil {
				return err
			}
			b.state.bounds.rewrite = 0 // as if the chains were long
			if found, err := b.Difference(ctx); found != "" || err != nil {
				return fmt.Errorf("%s %w", found, err)
			}
			if err := b.Update(ctx, plan.Plan{serviceName(1): nil}); err != nil {
				return err
			}
			found, err := b.Difference(ctx)
			if found != "" {
				t.Error(found)
			}
			return err
		})
	})
}

// Of two rules of the same text that came at different times, that one goes which the state takes out: handles follow from the order.
func TestNetnsOneOfSameRulesIsDeleted(t *testing.T) {
	variants(t, corev1.IPv4Protocol, func(t *testing.T, one tool) {
		inNamespace(t, func() error {
			ctx := context.Background()
			b, err := newBackend(nodeOptions, one)
			if err != nil {
				return err
			}
			port := func(number byte) plan.Port {
				return plan.Port{Name: plan.PortName{NamespacedName: serviceName(int(number))}, Protocol: corev1.ProtocolTCP,
					ClusterIP: netip.AddrFrom4([4]byte{10, 96, 0, number}), Port: 80, ExternalIPs: []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, number})}}
			}
			once := port(1)
			twice := once
			twice.LoadBalancerIPs = once.ExternalIPs
			if err := b.Replace(ctx, plan.Plan{serviceName(1): {once}}); err != nil {
				return err
			}
			b.state.bounds.rewrite = 0 // as if the chains were long
			for _, changed := range []plan.Plan{
				{serviceName(2): {port(2)}}, {serviceName(1): {twice}}, {serviceName(1): {once}},
				{serviceName(3): {port(3)}}, {serviceName(3): nil}, {serviceName(2): nil},
			} {
				if err := b.Update(ctx, changed); err != nil {
					return err
				}
			}
			b.seen = seen{} // look again
			found, err := b.Difference(ctx)
			if found != "" {
				t.Error(found)
			}
			return err
		})
	})
}
