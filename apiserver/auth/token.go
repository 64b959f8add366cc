package auth

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/types"
)

var (
	// ErrToken is returned by Verify when a token is malformed, or signed by another key.
	ErrToken = errors.New("invalid bearer token")
	// ErrTokenExpired is returned by Verify before a token's first and after its last second.
	ErrTokenExpired = errors.New("service account token has expired or is not yet valid")
	// ErrTokenAudience is returned by Verify when a token is meant for others.
	ErrTokenAudience = errors.New("token audiences are not those of this server")
	// ErrTokenUnbound is returned by Verify when what a token is bound to is no longer there.
	ErrTokenUnbound = errors.New("service account or pod of the token is gone")
)

// tokenSkew is how far the clock may have been set back since a token was issued.
const tokenSkew = 10 * time.Second

// Tokens signs and verifies service-account tokens: JWTs (RFC 7519) signed with ES256 (RFC 7518 §3.4), with the claims of
// Kubernetes' bound tokens (KEP-1205). It may be used concurrently.
type Tokens struct {
	key       *ecdsa.PrivateKey
	issuer    string
	audiences []string
	now       func() time.Time
}

// NewTokens makes tokens of an issuer ("https://kubernetes.default.svc.cluster.local"), which is also the audience of
// tokens for this API server.
func NewTokens(key *ecdsa.PrivateKey, issuer string) *Tokens {
	return &Tokens{key: key, issuer: issuer, audiences: []string{issuer}, now: time.Now}
}

// Binding is what a token is for. The Pod may be empty; a token without one lives as long as its service account.
type Binding struct {
	Namespace      string
	ServiceAccount Reference
	Pod            Reference
	// Audiences who shall accept the token; empty: this API server.
	Audiences []string
	// Lifetime is how long the token is valid, from one second on.
	Lifetime time.Duration
}

// Reference is an object of a known kind in a known namespace.
type Reference struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}

type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
}

type claims struct {
	Audiences  audiences        `json:"aud"`
	Expires    int64            `json:"exp"` // seconds since 1970, as all times here
	IssuedAt   int64            `json:"iat"`
	Issuer     string           `json:"iss"`
	ID         string           `json:"jti"`
	Kubernetes kubernetesClaims `json:"kubernetes.io"`
	NotBefore  int64            `json:"nbf"`
	Subject    string           `json:"sub"`
}

type kubernetesClaims struct {
	Namespace      string     `json:"namespace"`
	Pod            *Reference `json:"pod,omitempty"`
	ServiceAccount Reference  `json:"serviceaccount"`
}

// audiences is a list that may be a single string on the wire (RFC 7519 §4.1.3).
type audiences []string

func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// Issue signs a token and returns it with its last moment.
func (t *Tokens) Issue(binding Binding) (token string, expires time.Time, err error) {
	now := t.now()
	expires = now.Add(binding.Lifetime).Truncate(time.Second)
	content := claims{
		Audiences: binding.Audiences,
		Expires:   expires.Unix(),
		IssuedAt:  now.Unix(),
		Issuer:    t.issuer,
		ID:        uuid.NewString(),
		NotBefore: now.Unix(),
		Subject:   serviceAccountPrefix + binding.Namespace + ":" + binding.ServiceAccount.Name,
		Kubernetes: kubernetesClaims{
			Namespace:      binding.Namespace,
			ServiceAccount: binding.ServiceAccount,
		},
	}
	if len(content.Audiences) == 0 {
		content.Audiences = t.audiences
	}
	if binding.Pod != (Reference{}) {
		content.Kubernetes.Pod = &binding.Pod
	}
	token, err = t.sign(content)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign token for %s: %w", content.Subject, err)
	}
	return token, expires, nil
}

func (t *Tokens) sign(content claims) (string, error) {
	keyID, err := t.keyID()
	if err != nil {
		return "", err
	}
	header, err := encodePart(tokenHeader{Algorithm: "ES256", KeyID: keyID})
	if err != nil {
		return "", err
	}
	body, err := encodePart(content)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(header + "." + body))
	r, s, err := ecdsa.Sign(rand.Reader, t.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return header + "." + body + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Verify returns the user that a token stands for. What the token is bound to must still be there, with the same uid.
func (t *Tokens) Verify(token string, getter Getter) (User, error) {
	content, err := t.parse(token)
	if err != nil {
		return User{}, err
	}
	if err := t.checkClaims(content); err != nil {
		return User{}, err
	}
	bound := content.Kubernetes
	uid, found := getter.ServiceAccount(bound.Namespace, bound.ServiceAccount.Name)
	if !found || uid != bound.ServiceAccount.UID {
		return User{}, fmt.Errorf("%w: service account %s/%s", ErrTokenUnbound, bound.Namespace, bound.ServiceAccount.Name)
	}
	user := User{
		Name:   content.Subject,
		UID:    string(uid),
		Groups: []string{GroupServiceAccounts, GroupServiceAccounts + ":" + bound.Namespace, GroupAuthenticated},
		Extra:  map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=" + content.ID}},
	}
	if pod := bound.Pod; pod != nil {
		uid, _, found := getter.Pod(bound.Namespace, pod.Name)
		if !found || uid != pod.UID {
			return User{}, fmt.Errorf("%w: pod %s/%s", ErrTokenUnbound, bound.Namespace, pod.Name)
		}
		user.Extra["authentication.kubernetes.io/pod-name"] = []string{pod.Name}
		user.Extra["authentication.kubernetes.io/pod-uid"] = []string{string(pod.UID)}
	}
	return user, nil
}

// parse checks the form and the signature. The algorithm is this server's choice, never the token's.
func (t *Tokens) parse(token string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, fmt.Errorf("%w: not a JWT", ErrToken)
	}
	var header tokenHeader
	if err := decodePart(parts[0], &header); err != nil {
		return claims{}, fmt.Errorf("%w: header: %w", ErrToken, err)
	}
	if header.Algorithm != "ES256" {
		return claims{}, fmt.Errorf("%w: signed with %q, not ES256", ErrToken, header.Algorithm)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return claims{}, fmt.Errorf("%w: malformed signature", ErrToken)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(&t.key.PublicKey, digest[:], r, s) {
		return claims{}, fmt.Errorf("%w: signature does not match", ErrToken)
	}
	var content claims
	if err := decodePart(parts[1], &content); err != nil {
		return claims{}, fmt.Errorf("%w: claims: %w", ErrToken, err)
	}
	return content, nil
}

func (t *Tokens) checkClaims(content claims) error {
	now := t.now()
	bound := content.Kubernetes
	switch {
	case content.Issuer != t.issuer:
		return fmt.Errorf("%w: issued by %q", ErrToken, content.Issuer)
	case content.Subject != serviceAccountPrefix+bound.Namespace+":"+bound.ServiceAccount.Name:
		return fmt.Errorf("%w: subject %q is not the service account it names", ErrToken, content.Subject)
	case !now.Before(time.Unix(content.Expires, 0)), now.Add(tokenSkew).Before(time.Unix(content.NotBefore, 0)):
		return ErrTokenExpired
	case !slices.ContainsFunc(content.Audiences, func(a string) bool { return slices.Contains(t.audiences, a) }):
		return fmt.Errorf("%w: %q", ErrTokenAudience, []string(content.Audiences))
	}
	return nil
}

// keyID is derived from the public key, so that it changes with it.
func (t *Tokens) keyID() (string, error) {
	public, err := t.key.PublicKey.Bytes()
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(public)
	return base64.RawURLEncoding.EncodeToString(digest[:]), nil
}

func encodePart(value any) (string, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(encoded), nil
}

func decodePart(part string, into any) error {
	decoded, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(decoded, into)
}
