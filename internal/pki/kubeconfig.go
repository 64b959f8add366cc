package pki

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Access says where a kubeconfig leads to and as whom.
type Access struct {
	// Context names the context and the cluster in the kubeconfig; User the user. Both must be set.
	Context string
	User    string
	// Server is the API server's URL: "https://127.0.0.1:6443".
	Server string
	// Namespace is the context's namespace; empty means default.
	Namespace string
}

// Kubeconfig returns a kubeconfig with one context, which is the current one, and all credentials embedded.
func (a *Authority) Kubeconfig(access Access, credentials KeyPair) *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters[access.Context] = &clientcmdapi.Cluster{
		Server:                   access.Server,
		CertificateAuthorityData: a.CertificatePEM(),
	}
	config.AuthInfos[access.User] = &clientcmdapi.AuthInfo{
		ClientCertificateData: credentials.CertificatePEM,
		ClientKeyData:         credentials.KeyPEM,
	}
	config.Contexts[access.Context] = &clientcmdapi.Context{
		Cluster:   access.Context,
		AuthInfo:  access.User,
		Namespace: access.Namespace,
	}
	config.CurrentContext = access.Context
	return config
}

// WriteKubeconfig writes a kubeconfig, readable by its owner only, replacing any that is there. A crash leaves
// the old one or the new one.
func WriteKubeconfig(path string, config *clientcmdapi.Config) error {
	content, err := clientcmd.Write(*config)
	if err == nil {
		err = replaceFile(path, 0o600, content)
	}
	if err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}
