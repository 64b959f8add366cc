package auth

import (
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestImpersonated(t *testing.T) {
	admin := User{Name: "kubernetes-admin", Groups: []string{GroupMasters, GroupAuthenticated}}
	tests := []struct {
		name   string
		sender User
		header http.Header
		want   string // name and groups
		denied string
	}{
		{"nobody else", admin, http.Header{}, "kubernetes-admin system:masters system:authenticated", ""},
		{"a user", admin, http.Header{"Impersonate-User": {"jane"}}, "jane system:authenticated", ""},
		{"a user in a group", admin, http.Header{"Impersonate-User": {"jane"}, "Impersonate-Group": {"dev"}}, "jane dev system:authenticated", ""},
		{"a service account", admin, http.Header{"Impersonate-User": {"system:serviceaccount:default:app"}},
			"system:serviceaccount:default:app system:serviceaccounts system:serviceaccounts:default system:authenticated", ""},
		{"the anonymous", admin, http.Header{"Impersonate-User": {UserAnonymous}}, "system:anonymous system:unauthenticated", ""},
		{"a group alone", admin, http.Header{"Impersonate-Group": {GroupMasters}}, "", "without impersonating a user"},
		{"without the right", account("default", "app"), http.Header{"Impersonate-User": {"jane"}}, "",
			`users "jane" is forbidden: User "system:serviceaccount:default:app" cannot impersonate resource "users" in API group "" at the cluster scope`},
		{"a group without the right", account("kube-system", "coredns"),
			http.Header{"Impersonate-User": {"system:serviceaccount:kube-system:coredns"}, "Impersonate-Group": {GroupMasters}}, "", "is forbidden"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			authenticator := &Authenticator{Getter: testCluster()}
			request := &http.Request{Header: test.header}
			user, err := authenticator.impersonated(test.sender, request)
			if test.denied != "" {
				if err == nil || !strings.Contains(err.Error(), test.denied) || !(apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)) {
					t.Errorf("error: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := user.Name + " " + strings.Join(user.Groups, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if len(request.Header) > 0 {
				t.Errorf("headers are passed on: %v", request.Header)
			}
		})
	}
}
