package nodeagent

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "k8s.io/api/core/v1"
)

// pullSecrets are the credentials in a Pod's imagePullSecrets: an authn.Keychain.
type pullSecrets []pullCredential

// pullCredential is good for the images below a registry, or below a path in it.
type pullCredential struct {
	registry, path string
	config         authn.AuthConfig
}

// readPullSecrets reads secrets of the types kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg. Those of other types have no credentials.
func readPullSecrets(secrets []*v1.Secret) (pullSecrets, error) {
	var credentials pullSecrets
	for _, secret := range secrets {
		entries := map[string]authn.AuthConfig{}
		var err error
		switch secret.Type {
		case v1.SecretTypeDockerConfigJson:
			file := struct {
				Auths *map[string]authn.AuthConfig `json:"auths"`
			}{&entries}
			err = json.Unmarshal(secret.Data[v1.DockerConfigJsonKey], &file)
		case v1.SecretTypeDockercfg:
			err = json.Unmarshal(secret.Data[v1.DockerConfigKey], &entries)
		}
		if err != nil {
			return nil, fmt.Errorf("read image pull secret %s/%s: %w", secret.Namespace, secret.Name, err)
		}
		for place, config := range entries {
			registry, below := splitRegistry(place)
			credentials = append(credentials, pullCredential{registry, below, config})
		}
	}
	return credentials, nil
}

// splitRegistry takes apart what Docker's configuration calls a registry: "https://index.docker.io/v1/", "registry.example:5000/team".
func splitRegistry(place string) (registry, below string) {
	_, rest, found := strings.Cut(place, "://")
	if !found {
		rest = place
	}
	registry, below, _ = strings.Cut(rest, "/")
	if registry == "docker.io" || registry == "registry-1.docker.io" {
		registry = "index.docker.io" // as authn.Resource has it
	}
	below = strings.Trim(below, "/")
	if below == "v1" || below == "v2" {
		below = ""
	}
	return registry, below
}

// Resolve implements authn.Keychain: the credential with the longest path above the image, the first of several; none: anonymous. A
// registry's name may have wildcards, as in "*.example.com".
func (s pullSecrets) Resolve(target authn.Resource) (authn.Authenticator, error) {
	repository := strings.TrimPrefix(target.String(), target.RegistryStr()+"/")
	var best *pullCredential
	for i := range s {
		credential := &s[i]
		matches, err := path.Match(credential.registry, target.RegistryStr())
		above := credential.path == "" || repository == credential.path || strings.HasPrefix(repository, credential.path+"/")
		if err == nil && matches && above && (best == nil || len(credential.path) > len(best.path)) {
			best = credential
		}
	}
	if best == nil {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(best.config), nil
}
