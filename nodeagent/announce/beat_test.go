package announce

import (
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/internal/pki"
)

// newAuthority makes the certificate authority of a cluster.
func newAuthority(t testing.TB) *pki.Authority {
	t.Helper()
	authority, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// identityFor is that of a user of the cluster.
func identityFor(t testing.TB, authority *pki.Authority, user string) identity {
	t.Helper()
	pair, err := authority.IssueClient(user, "system:nodes")
	if err != nil {
		t.Fatal(err)
	}
	made, err := identityOf(&rest.Config{Host: "https://192.168.1.1:6443", TLSClientConfig: rest.TLSClientConfig{
		CAData: authority.CertificatePEM(), CertData: pair.CertificatePEM, KeyData: pair.KeyPEM,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func identityOfNode(t testing.TB, node string) identity {
	t.Helper()
	return identityFor(t, newAuthority(t), "system:node:"+node)
}

func TestBeats(t *testing.T) {
	authority, now := newAuthority(t), time.Now()
	node := identityFor(t, authority, "system:node:node-2")
	l := newListener(identityFor(t, authority, "system:node:node-1"))
	frame := func(sender identity, now time.Time) []byte {
		t.Helper()
		frame, err := sender.beat(hardware, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(frame) > 1514 {
			t.Errorf("a frame of %d bytes", len(frame))
		}
		return frame
	}
	good := frame(node, now)
	if from, err := l.node(good, now); err != nil || from != "node-2" {
		t.Errorf("heard %q, %v", from, err)
	}
	changed := frame(node, now.Add(time.Second))
	changed[beatHeader-1] ^= 1
	for name, frame := range map[string][]byte{
		"repeated":                  good,
		"earlier":                   frame(node, now.Add(-time.Second)),
		"with another time":         changed,
		"of no node":                frame(identityFor(t, authority, "teacher"), now.Add(time.Second)),
		"of another cluster's node": frame(identityOfNode(t, "node-2"), now.Add(time.Second)),
		"ARP":                       gratuitous(vip, hardware),
		"empty":                     nil,
	} {
		if from, err := l.node(frame, now); !errors.Is(err, errNotBeat) {
			t.Errorf("%s: heard %q, %v", name, from, err)
		}
	}
	for length := range good { // cut anywhere
		if from, err := l.node(good[:length], now); !errors.Is(err, errNotBeat) {
			t.Errorf("%d bytes: heard %q, %v", length, from, err)
		}
	}
	if from, err := l.node(frame(node, now.Add(time.Second)), now); err != nil || from != "node-2" {
		t.Errorf("a later one: heard %q, %v", from, err)
	}
	if from, err := l.node(frame(node, now.Add(-time.Hour)), now.Add(patience)); err != nil || from != "node-2" {
		t.Errorf("with the clock set back, after a silence: heard %q, %v", from, err)
	}
	if _, err := identityOf(&rest.Config{Host: "http://192.168.1.1"}); err == nil {
		t.Error("an identity without a certificate")
	}
}

// BenchmarkBeat measures what a beat costs its sender and one listener together.
func BenchmarkBeat(b *testing.B) {
	authority := newAuthority(b)
	sender := identityFor(b, authority, "system:node:node-2")
	l := newListener(identityFor(b, authority, "system:node:node-1"))
	now := time.Now()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		frame, err := sender.beat(hardware, now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.node(frame, now); err != nil {
			b.Fatal(err)
		}
	}
}
