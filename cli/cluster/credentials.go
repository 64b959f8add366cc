package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/kubelite/kubelite/internal/pki"
)

// credentials are the files that let an agent speak to the API server, and the API server to the agent.
type credentials struct{ kubeconfig, certificate, key, authority string }

func credentialsIn(dir string) credentials {
	return credentials{
		kubeconfig:  filepath.Join(dir, "kubeconfig"),
		certificate: filepath.Join(dir, "agent.crt"),
		key:         filepath.Join(dir, "agent.key"),
		authority:   filepath.Join(dir, "ca.crt"),
	}
}

func (c *Cluster) nodeCredentials(node string) credentials {
	return credentialsIn(c.Dir("nodes", node))
}

// PKIDir is where a server keeps its certificate authority, below its data directory.
func PKIDir(dataDir string) string { return filepath.Join(dataDir, "pki") }

// writeCredentials issues the administrator's and every node's credentials anew.
func (c *Cluster) writeCredentials() error {
	authority, err := pki.LoadOrCreate(PKIDir(c.Dir("server")))
	if err != nil {
		return err
	}
	admin, err := authority.IssueClient("kubernetes-admin", "system:masters")
	if err != nil {
		return err
	}
	name := ContextName(c.Name())
	access := pki.Access{Context: name, User: name, Server: c.serverURL()}
	if err := pki.WriteKubeconfig(c.Kubeconfig(), authority.Kubeconfig(access, admin)); err != nil {
		return err
	}
	server := fmt.Sprintf("https://%s:%d", c.Network.Server, serverPort)
	for _, node := range c.Network.NodeList() {
		if err := writeNodeCredentials(authority, node.Name, node.Address, server, c.Dir("nodes", node.Name)); err != nil {
			return err
		}
	}
	return nil
}

// WriteNodeCredentials writes what an agent that is started by hand needs into a directory, signed by the authority of the
// server with that data directory.
func WriteNodeCredentials(dataDir, node string, address netip.Addr, server, directory string) error {
	if _, err := os.Stat(PKIDir(dataDir)); err != nil {
		return fmt.Errorf("there is no server's certificate authority in --data-dir %s: start `kubelite server` with that directory first: %w", dataDir, err)
	}
	authority, err := pki.LoadOrCreate(PKIDir(dataDir))
	if err != nil {
		return err
	}
	return writeNodeCredentials(authority, node, address, server, directory)
}

func writeNodeCredentials(authority *pki.Authority, node string, address netip.Addr, server, directory string) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("write credentials of %s: %w", node, err)
	}
	user := "system:node:" + node
	client, err := authority.IssueClient(user, "system:nodes")
	if err != nil {
		return err
	}
	serving, err := authority.IssueServer(user, []string{node}, []netip.Addr{address})
	if err != nil {
		return err
	}
	files := credentialsIn(directory)
	if err := pki.WriteKubeconfig(files.kubeconfig, authority.Kubeconfig(pki.Access{Context: "kubelite", User: user, Server: server}, client)); err != nil {
		return err
	}
	for _, file := range []struct {
		path string
		data []byte
		mode os.FileMode
	}{
		{files.authority, authority.CertificatePEM(), 0o644},
		{files.certificate, serving.CertificatePEM, 0o644},
		{files.key, serving.KeyPEM, 0o600},
	} {
		if err := writeFile(file.path, file.data, file.mode); err != nil {
			return fmt.Errorf("write credentials of %s: %w", node, err)
		}
	}
	return nil
}
