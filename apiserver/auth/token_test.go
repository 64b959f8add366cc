package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func newTokens(t *testing.T, issuer string) *Tokens {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return NewTokens(key, issuer)
}

func issue(t *testing.T, tokens *Tokens, change func(*Binding)) string {
	t.Helper()
	binding := Binding{
		Namespace:      "default",
		ServiceAccount: Reference{Name: "app", UID: "sa-uid"},
		Pod:            Reference{Name: "mine", UID: "pod-uid"},
		Lifetime:       time.Hour,
	}
	change(&binding)
	token, _, err := tokens.Issue(binding)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestVerify(t *testing.T) {
	tokens, other := newTokens(t, "https://us"), newTokens(t, "https://us")
	foreign := NewTokens(tokens.key, "https://them")
	same := func(*Binding) {}
	unsigned := func(token string) string {
		parts := strings.Split(token, ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	}
	swapped := func(claims, signature string) string {
		a, b := strings.Split(claims, "."), strings.Split(signature, ".")
		return a[0] + "." + a[1] + "." + b[2]
	}
	good := issue(t, tokens, same)
	tests := []struct {
		name, token string
		want        error
	}{
		{"good", good, nil},
		{"without pod", issue(t, tokens, func(b *Binding) { b.Pod = Reference{} }), nil},
		{"one of its audiences", issue(t, tokens, func(b *Binding) { b.Audiences = []string{"vault", "https://us"} }), nil},
		{"other audience", issue(t, tokens, func(b *Binding) { b.Audiences = []string{"vault"} }), ErrTokenAudience},
		{"other key", issue(t, other, same), ErrToken},
		{"other issuer", issue(t, foreign, same), ErrToken},
		{"expired", issue(t, tokens, func(b *Binding) { b.Lifetime = -time.Second }), ErrTokenExpired},
		{"account made anew", issue(t, tokens, func(b *Binding) { b.ServiceAccount.UID = "older" }), ErrTokenUnbound},
		{"account gone", issue(t, tokens, func(b *Binding) { b.ServiceAccount.Name = "gone" }), ErrTokenUnbound},
		{"pod made anew", issue(t, tokens, func(b *Binding) { b.Pod.UID = "older" }), ErrTokenUnbound},
		{"unsigned", unsigned(good), ErrToken},
		{"signature of another", swapped(good, issue(t, tokens, same)), ErrToken},
		{"garbage", "a.b.c", ErrToken},
		{"no JWT", "secret", ErrToken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			user, err := tokens.Verify(test.token, testCluster())
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("error: %v, want %v", err, test.want)
			}
			if err == nil && (user.Name != "system:serviceaccount:default:app" || !slices.Contains(user.Groups, "system:serviceaccounts:default")) {
				t.Errorf("user: %+v", user)
			}
		})
	}
}

func TestMiddleware(t *testing.T) {
	tokens := newTokens(t, "https://us")
	certificate := func(notAfter time.Time) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{
			Subject:  pkix.Name{CommonName: "admin", Organization: []string{GroupMasters}},
			NotAfter: notAfter,
		}}}}
	}
	good := "Bearer " + issue(t, tokens, func(*Binding) {})
	unverified := &tls.ConnectionState{PeerCertificates: certificate(time.Now().Add(time.Hour)).VerifiedChains[0]}
	tests := []struct {
		name, path, header string
		tls                *tls.ConnectionState
		want               string // the user, or empty for 401
	}{
		{"nobody", "/api", "", nil, ""},
		{"nobody asks for health", "/healthz", "", nil, UserAnonymous},
		{"certificate", "/api", "", certificate(time.Now().Add(time.Hour)), "admin"},
		{"expired certificate", "/api", "", certificate(time.Now().Add(-time.Hour)), ""},
		{"unverified certificate", "/api", "", unverified, ""},
		{"token", "/api", good, nil, "system:serviceaccount:default:app"},
		{"wrong token", "/healthz", "Bearer wrong", nil, ""},
		{"password", "/api", "Basic YTpi", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			authenticator := &Authenticator{Tokens: tokens, Getter: testCluster()}
			got := ""
			handler := authenticator.Middleware(func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, err.Error(), http.StatusUnauthorized)
			})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = UserFrom(r.Context()).Name }))
			r := httptest.NewRequest(http.MethodGet, test.path, nil)
			r.Header.Set("Authorization", test.header)
			r.TLS = test.tls
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, r)
			if got != test.want || (response.Code == http.StatusUnauthorized) != (test.want == "") {
				t.Errorf("user %q, status %d", got, response.Code)
			}
		})
	}
}
