package announce

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
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
	authority, now := newAuthority(t), time.Hour
	node := identityFor(t, authority, "system:node:node-2")
	l := newListener(identityFor(t, authority, "system:node:node-1"))
	frame := func(sender identity, now time.Duration) []byte {
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
	hears := func(name string, frame []byte, now time.Duration, want string) {
		t.Helper()
		from, err := l.node(frame, now)
		if from != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, errNotBeat) {
			t.Errorf("%s: heard %q, %v; want %q", name, from, err, want)
		}
	}
	good := frame(node, now)
	hears("the first", good, now+time.Millisecond, "node-2")
	changed := frame(node, now)
	changed[beatHeader-1]++
	now += time.Second
	for name, frame := range map[string][]byte{
		"repeated":                  good,
		"earlier":                   frame(node, now-time.Second-time.Millisecond),
		"with another time":         changed,
		"of the future":             frame(node, now+time.Nanosecond),
		"of no node":                frame(identityFor(t, authority, "teacher"), now),
		"of another cluster's node": frame(identityOfNode(t, "node-2"), now),
		"ARP":                       gratuitous(vip, hardware),
		"empty":                     nil,
	} {
		hears(name, frame, now, "")
	}
	for length := range good { // cut anywhere
		hears(fmt.Sprintf("%d bytes", length), good[:length], now, "")
	}
	hears("a later one", frame(node, now), now, "node-2")
	if _, err := identityOf(&rest.Config{Host: "http://192.168.1.1"}); err == nil {
		t.Error("an identity without a certificate")
	}

	// Of all that somebody recorded, nothing brings back a node that is silent, also for one who has not heard it before.
	recorded := [][]byte{good, frame(node, now+time.Second), frame(node, now+2*time.Second)}
	now += 2*time.Second + patience
	for _, heard := range []*listener{l, newListener(l.identity)} {
		l = heard
		for _, frame := range recorded {
			hears("sent again after a silence", frame, now, "")
		}
	}
	hears("the node itself after it", frame(node, now), now, "node-2")
}

// A certificate that is renewed or has expired does not make a node silent.
func TestBeatsOutliveCertificates(t *testing.T) {
	directory := t.TempDir()
	authority, err := pki.LoadOrCreate(directory)
	if err != nil {
		t.Fatal(err)
	}
	signing, err := tls.LoadX509KeyPair(filepath.Join(directory, "ca.crt"), filepath.Join(directory, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	expired := identityFor(t, authority, "system:node:node-2")
	template, err := x509.ParseCertificate(expired.certificate)
	if err != nil {
		t.Fatal(err)
	}
	template.NotAfter = time.Now().Add(-time.Minute)
	expired.certificate, err = x509.CreateCertificate(rand.Reader, template, signing.Leaf, expired.key.Public(), signing.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(identityFor(t, authority, "system:node:node-1"))
	now := time.Hour
	for _, sender := range []identity{expired, identityFor(t, authority, "system:node:node-2")} {
		now += beatInterval
		frame, err := sender.beat(hardware, now)
		if err != nil {
			t.Fatal(err)
		}
		if from, err := l.node(frame, now); err != nil || from != "node-2" {
			t.Errorf("heard %q, %v", from, err)
		}
	}
}

// BenchmarkBeat measures what a beat costs its sender and one listener together.
func BenchmarkBeat(b *testing.B) {
	authority := newAuthority(b)
	sender := identityFor(b, authority, "system:node:node-2")
	l := newListener(identityFor(b, authority, "system:node:node-1"))
	now := time.Hour
	for b.Loop() {
		now += time.Millisecond
		frame, err := sender.beat(hardware, now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.node(frame, now); err != nil {
			b.Fatal(err)
		}
	}
}
