package iptables

import (
	"context"
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
