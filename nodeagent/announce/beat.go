package announce

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
)

// etherTypeBeat is IEEE 802's Local Experimental Ethertype 1.
const etherTypeBeat = 0x88b5

// A beat is an Ethernet broadcast: the magic, the sender's uptime in nanoseconds, and, each after its length in two bytes, the
// sender's certificate and its signature of all that comes before.
const (
	beatMagic  = "KLB2"
	beatHeader = 14 + len(beatMagic) + 8
)

// errNotBeat is returned for frames that are no beat, or that no node of the cluster signed.
var errNotBeat = errors.New("not a node's heartbeat")

// identity is what a node signs its beats with, and what the beats of others are checked against: the certificates by which
// nodes are known to the API server.
type identity struct {
	certificate []byte // DER
	key         crypto.Signer
	roots       *x509.CertPool
}

// identityOf is the identity in a client's access. It is an error if there is no client certificate with an ECDSA key.
func identityOf(config *rest.Config) (identity, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return identity{}, err
	}
	if tlsConfig == nil || tlsConfig.GetClientCertificate == nil || tlsConfig.RootCAs == nil {
		return identity{}, errors.New("no client certificate and certificate authority to sign heartbeats with")
	}
	pair, err := tlsConfig.GetClientCertificate(&tls.CertificateRequestInfo{})
	if err != nil {
		return identity{}, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return identity{}, fmt.Errorf("sign heartbeats with a key of type %T: it must be ECDSA", pair.PrivateKey)
	}
	return identity{pair.Certificate[0], key, tlsConfig.RootCAs}, nil
}

// uptime is how long the machine has run: the clock of beats. All nodes are on one machine and so read the same, which nobody sets.
func uptime() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// beat is the frame that says that the node is there at now, an uptime.
func (i identity) beat(hardware net.HardwareAddr, now time.Duration) ([]byte, error) {
	frame := append(make([]byte, 0, 1514), broadcast...)
	frame = append(frame, hardware...)
	frame = binary.BigEndian.AppendUint16(frame, etherTypeBeat)
	frame = append(frame, beatMagic...)
	frame = binary.BigEndian.AppendUint64(frame, uint64(now))
	frame = appendSized(frame, i.certificate)
	digest := sha256.Sum256(frame[14:])
	signature, err := i.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign heartbeat: %w", err)
	}
	return appendSized(frame, signature), nil
}

func appendSized(frame, part []byte) []byte {
	return append(binary.BigEndian.AppendUint16(frame, uint16(len(part))), part...)
}

// listener checks beats. It is used by one goroutine.
type listener struct {
	identity
	nodes map[string]signer        // by certificate
	last  map[string]time.Duration // a node's newest beat, by the clock in it
}

type signer struct {
	node string
	key  *ecdsa.PublicKey
}

func newListener(identity identity) *listener {
	return &listener{identity: identity, nodes: map[string]signer{}, last: map[string]time.Duration{}}
}

// node returns whose beat a frame is that came when the uptime was now. errNotBeat is returned for any other frame, also for one
// that somebody recorded and sends again: a beat counts once, and not when it is older than a node may be silent.
func (l *listener) node(frame []byte, now time.Duration) (string, error) {
	if len(frame) < beatHeader || binary.BigEndian.Uint16(frame[12:]) != etherTypeBeat || string(frame[14:14+len(beatMagic)]) != beatMagic {
		return "", errNotBeat
	}
	clock := time.Duration(binary.BigEndian.Uint64(frame[beatHeader-8:]))
	certificate, rest, ok := cutSized(frame[beatHeader:])
	if !ok {
		return "", errNotBeat
	}
	signature, _, ok := cutSized(rest)
	if !ok {
		return "", errNotBeat
	}
	if age := now - clock; age < 0 || age >= patience {
		return "", fmt.Errorf("%w: its age is %v", errNotBeat, age)
	}
	from, err := l.signer(certificate)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(frame[14 : len(frame)-len(rest)])
	if clock <= l.last[from.node] || !ecdsa.VerifyASN1(from.key, digest[:], signature) {
		return "", errNotBeat
	}
	l.last[from.node] = clock
	return from.node, nil
}

func cutSized(frame []byte) (part, rest []byte, ok bool) {
	if len(frame) < 2 {
		return nil, nil, false
	}
	length := int(binary.BigEndian.Uint16(frame))
	if len(frame) < 2+length {
		return nil, nil, false
	}
	return frame[2 : 2+length], frame[2+length:], true
}

// signer is the node of a certificate, which the cluster's authority must have issued to it. That it has expired does not matter: all
// of a cluster expire at once, and nodes that took each other for silent would all answer for all addresses. What a node with an
// expired certificate may do is for the API server to say: it ceases to be Ready.
func (l *listener) signer(certificate []byte) (signer, error) {
	if known, ok := l.nodes[string(certificate)]; ok {
		return known, nil
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return signer{}, fmt.Errorf("%w: %w", errNotBeat, err)
	}
	options := x509.VerifyOptions{Roots: l.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: parsed.NotBefore}
	if _, err := parsed.Verify(options); err != nil {
		return signer{}, fmt.Errorf("%w: %w", errNotBeat, err)
	}
	node, isNode := strings.CutPrefix(parsed.Subject.CommonName, "system:node:")
	key, ok := parsed.PublicKey.(*ecdsa.PublicKey)
	if !ok || !isNode {
		return signer{}, fmt.Errorf("%w: it is signed by %q", errNotBeat, parsed.Subject.CommonName)
	}
	l.nodes[string(certificate)] = signer{node, key}
	return l.nodes[string(certificate)], nil
}
