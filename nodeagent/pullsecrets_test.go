package nodeagent

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "k8s.io/api/core/v1"
)

func TestPullSecrets(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("ann:one"))
	secrets, err := readPullSecrets([]*v1.Secret{
		{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(`{"auths": {
			"registry.example:5000": {"auth": "` + auth + `"},
			"https://index.docker.io/v1/": {"username": "hub", "password": "two"},
			"registry.example:5000/team": {"username": "team", "password": "three"},
			"*.wild.example": {"username": "wild", "password": "four"}}}`)}},
		{Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"old.example": {"username": "old", "password": "five"}}`)}},
		{Type: v1.SecretTypeOpaque, Data: map[string][]byte{"x": []byte("y")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"registry.example:5000/app": "ann:one", "registry.example:5000/team/app:1": "team:three", "registry.example:5000/teams/app": "ann:one",
		"busybox": "hub:two", "a.wild.example/app": "wild:four", "old.example/app": "old:five", "other.example/app": ":",
	} {
		reference, err := name.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		found, err := secrets.Resolve(reference.Context())
		if err != nil {
			t.Fatal(err)
		}
		config, err := found.Authorization()
		if err != nil || fmt.Sprintf("%s:%s", config.Username, config.Password) != want {
			t.Errorf("%s: %+v %v, want %s", image, config, err, want)
		}
	}
	if _, err := readPullSecrets([]*v1.Secret{{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte("{")}}}); err == nil {
		t.Error("half a secret, no error")
	}
}
