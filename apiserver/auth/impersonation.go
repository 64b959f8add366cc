package auth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// impersonated returns the user that the request's Impersonate-* headers name (kubectl's --as and --as-group), or user where
// there are none, and takes the headers out of the request. The error is a status: 403 where user may not act as that one.
func (a *Authenticator) impersonated(user User, r *http.Request) (User, error) {
	wanted, asked, err := wantedUser(r.Header)
	if err != nil {
		return User{}, err
	}
	if !asked {
		return user, nil
	}
	for _, attributes := range impersonationAttributes(wanted, r.Header) {
		if allowed, reason := Authorize(user, attributes, a.Getter); !allowed {
			return User{}, Forbidden(user, attributes, reason)
		}
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Impersonate-") {
			r.Header.Del(name)
		}
	}
	return wanted, nil
}

// wantedUser is the user that the headers describe, with the groups that such a user has.
func wantedUser(header http.Header) (wanted User, asked bool, err error) {
	wanted = User{
		Name:   header.Get(authenticationv1.ImpersonateUserHeader),
		UID:    header.Get(authenticationv1.ImpersonateUIDHeader),
		Groups: slices.Clone(header.Values(authenticationv1.ImpersonateGroupHeader)),
		Extra:  wantedExtra(header),
	}
	if wanted.Name == "" {
		if wanted.UID != "" || len(wanted.Groups) > 0 || len(wanted.Extra) > 0 {
			return User{}, false, apierrors.NewBadRequest("requested to impersonate a UID, groups or extra without impersonating a user")
		}
		return User{}, false, nil
	}
	if wanted.Name == UserAnonymous {
		if len(wanted.Groups) == 0 {
			wanted.Groups = Anonymous().Groups
		}
		return wanted, true, nil
	}
	if namespace, _, ok := splitServiceAccount(wanted.Name); ok && len(wanted.Groups) == 0 {
		wanted.Groups = []string{GroupServiceAccounts, GroupServiceAccounts + ":" + namespace}
	}
	if !wanted.in(GroupAuthenticated) && !wanted.in(GroupUnauthenticated) {
		wanted.Groups = append(wanted.Groups, GroupAuthenticated)
	}
	return wanted, true, nil
}

func wantedExtra(header http.Header) map[string][]string {
	var extra map[string][]string
	for name, values := range header {
		key, ok := strings.CutPrefix(name, authenticationv1.ImpersonateUserExtraHeaderPrefix)
		if !ok {
			continue
		}
		key = strings.ToLower(key)
		if plain, err := url.PathUnescape(key); err == nil {
			key = plain
		}
		if extra == nil {
			extra = map[string][]string{}
		}
		extra[key] = append(extra[key], values...)
	}
	return extra
}

// impersonationAttributes are what must be allowed: verb impersonate on the user and on each group, UID and extra asked for.
func impersonationAttributes(wanted User, header http.Header) []Attributes {
	who := Attributes{Verb: "impersonate", Resource: "users", Name: wanted.Name}
	if namespace, name, ok := splitServiceAccount(wanted.Name); ok {
		who = Attributes{Verb: "impersonate", Resource: "serviceaccounts", Namespace: namespace, Name: name}
	}
	all := []Attributes{who}
	for _, group := range header.Values(authenticationv1.ImpersonateGroupHeader) {
		all = append(all, Attributes{Verb: "impersonate", Group: corev1.GroupName, Resource: "groups", Name: group})
	}
	if wanted.UID != "" {
		all = append(all, Attributes{Verb: "impersonate", Group: authenticationv1.GroupName, Resource: "uids", Name: wanted.UID})
	}
	for key := range wanted.Extra {
		all = append(all, Attributes{Verb: "impersonate", Group: authenticationv1.GroupName, Resource: "userextras", Subresource: key})
	}
	return all
}

// splitServiceAccount takes system:serviceaccount:NAMESPACE:NAME apart.
func splitServiceAccount(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, serviceAccountPrefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && namespace != "" && name != "" && !strings.Contains(name, ":")
}
