package auth

import "context"

// Names of groups and users that the policy knows.
const (
	GroupMasters         = "system:masters"
	GroupNodes           = "system:nodes"
	GroupAuthenticated   = "system:authenticated"
	GroupServiceAccounts = "system:serviceaccounts"
	GroupUnauthenticated = "system:unauthenticated"

	UserAnonymous         = "system:anonymous"
	UserControllerManager = "system:kube-controller-manager"
	UserScheduler         = "system:kube-scheduler"

	nodePrefix           = "system:node:"
	serviceAccountPrefix = "system:serviceaccount:"
)

// User is who sends a request.
type User struct {
	Name   string
	UID    string // of a service account; else empty
	Groups []string
	// Extra is what else is known, by Kubernetes' keys: the Pod that a token is bound to. May be nil.
	Extra map[string][]string
}

// Anonymous is the user of a request without credentials.
func Anonymous() User {
	return User{Name: UserAnonymous, Groups: []string{GroupUnauthenticated}}
}

func (u User) in(group string) bool {
	for _, g := range u.Groups {
		if g == group {
			return true
		}
	}
	return false
}

type userKey struct{}

// WithUser returns a context that carries the user of a request.
func WithUser(ctx context.Context, user User) context.Context {
	return context.WithValue(ctx, userKey{}, user)
}

// UserFrom returns the user that WithUser put in, or Anonymous.
func UserFrom(ctx context.Context) User {
	if user, ok := ctx.Value(userKey{}).(User); ok {
		return user
	}
	return Anonymous()
}
