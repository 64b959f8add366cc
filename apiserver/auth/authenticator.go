package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Getter is what authentication and authorization read from the cluster. Both methods are called concurrently; found is
// false when there is no such object.
type Getter interface {
	ServiceAccount(namespace, name string) (uid types.UID, found bool)
	// Pod also returns the node that the Pod is bound to; empty while it is not.
	Pod(namespace, name string) (uid types.UID, node string, found bool)
}

// Authenticator finds out who sends a request. It may be used concurrently.
type Authenticator struct {
	Tokens *Tokens
	Getter Getter
}

// Authenticate returns the request's user. ok is false when it has no credentials; an error says what is wrong with those it
// has. A verified client certificate goes before a bearer token.
func (a *Authenticator) Authenticate(r *http.Request) (user User, ok bool, err error) {
	if certificate := verifiedCertificate(r); certificate != nil {
		user, err = certificateUser(certificate, time.Now())
		return user, err == nil, err
	}
	token, ok := bearerToken(r)
	if !ok {
		return User{}, false, nil
	}
	user, err = a.Tokens.Verify(token, a.Getter)
	return user, err == nil, err
}

// verifiedCertificate is the client certificate that the handshake has verified, else nil.
func verifiedCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// certificateUser checks the expiry again: a connection may outlive the certificate that opened it.
func certificateUser(certificate *x509.Certificate, now time.Time) (User, error) {
	if now.After(certificate.NotAfter) {
		return User{}, fmt.Errorf("client certificate of %q expired on %s", certificate.Subject.CommonName, certificate.NotAfter)
	}
	if certificate.Subject.CommonName == "" {
		return User{}, errors.New("client certificate has no common name")
	}
	groups := append([]string{}, certificate.Subject.Organization...)
	return User{Name: certificate.Subject.CommonName, Groups: append(groups, GroupAuthenticated)}, nil
}

func bearerToken(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// Middleware puts the user into the request's context, where UserFrom finds it: the one that is impersonated, if the sender
// may do that. deny answers what is not let in: wrong credentials, no credentials for anything but health, and forbidden
// impersonation. The Authorization header is not passed on.
func (a *Authenticator) Middleware(deny func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, ok, err := a.Authenticate(r)
			if !ok {
				user = Anonymous()
			}
			if err != nil || !ok && !isHealthPath(r.URL.Path) {
				deny(w, r, Unauthorized())
				return
			}
			if user, err = a.impersonated(user, r); err != nil {
				deny(w, r, err)
				return
			}
			r = r.WithContext(WithUser(r.Context(), user))
			r.Header.Del("Authorization")
			next.ServeHTTP(w, r)
		})
	}
}

// Unauthorized is the status error, 401, for requests without valid credentials. It does not say what was wrong with them.
func Unauthorized() error {
	return apierrors.NewUnauthorized("Unauthorized")
}
