package cluster

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubelite/kubelite/internal/netnstest"
)

const others = `apiVersion: v1
kind: Config
clusters:
- {name: work, cluster: {server: "https://work.example.org"}}
users:
- {name: me, user: {token: secret}}
contexts:
- {name: work, context: {cluster: work, user: me, namespace: mine}}
current-context: work
`

// own is a kubeconfig as `up` writes it, with one context.
func own(name string) *api.Config {
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: "https://127.0.0.1:6443"}
	config.AuthInfos[name] = &api.AuthInfo{Token: "t"}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return config
}

func writeKubeconfig(t *testing.T, content string) string {
	t.Helper()
	t.Setenv("SUDO_UID", "")
	t.Setenv("HOME", t.TempDir())
	path := filepath.Join(t.TempDir(), "new", "config")
	t.Setenv("KUBECONFIG", path)
	if content != "" {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestAddAndRemoveContext(t *testing.T) {
	for name, content := range map[string]string{"no file": "", "another cluster's": others} {
		t.Run(name, func(t *testing.T) {
			path := writeKubeconfig(t, content)
			if err := addContext("test", own("kubelite-test"), always); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if owner := info.Sys().(*syscall.Stat_t).Uid; info.Mode().Perm() != 0o600 || int(owner) != os.Geteuid() {
				t.Errorf("mode %v, owner %d: want 0600 and %d", info.Mode(), owner, os.Geteuid())
			}
			config, err := clientcmd.LoadFromFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if config.CurrentContext != "kubelite-test" || config.Clusters["kubelite-test"].Server != "https://127.0.0.1:6443" {
				t.Errorf("after up: %+v", config)
			}
			if err := RemoveContext("test"); err != nil {
				t.Fatal(err)
			}
			config, err = clientcmd.LoadFromFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if config.CurrentContext != "" || config.Contexts["kubelite-test"] != nil || config.AuthInfos["kubelite-test"] != nil {
				t.Errorf("after down: %+v", config)
			}
			if content == others && (config.Contexts["work"] == nil || config.Contexts["work"].Namespace != "mine" ||
				config.AuthInfos["me"].Token != "secret" || config.Clusters["work"].Server != "https://work.example.org") {
				t.Errorf("the other context is lost: %+v", config)
			}
		})
	}
}

func TestRemoveContextKeepsTheCurrentOne(t *testing.T) {
	path := writeKubeconfig(t, others)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := RemoveContext("test"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("it was changed to %s, %v", after, err)
	}
}

func TestRemoveContextMakesNothing(t *testing.T) {
	path := writeKubeconfig(t, "")
	if err := RemoveContext("test"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("it made a folder")
	}
}

func TestDamagedUserKubeconfig(t *testing.T) {
	path := writeKubeconfig(t, "clusters: {")
	err := addContext("test", own("kubelite-test"), always)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "mend or remove that file") {
		t.Errorf("it says %v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "clusters: {" {
		t.Errorf("it was changed to %q, %v", content, err)
	}
}

// TestContextsOfManyClusters writes at the same time: none is lost.
func TestContextsOfManyClusters(t *testing.T) {
	path := writeKubeconfig(t, others)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var work sync.WaitGroup
	for _, name := range names {
		work.Go(func() {
			if err := addContext(name, own(ContextName(name)), always); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Contexts) != len(names)+1 {
		t.Errorf("%d contexts, want %d", len(config.Contexts), len(names)+1)
	}
}

// TestSudo writes for the user behind sudo, who owns what is made.
func TestSudo(t *testing.T) {
	netnstest.RequireRoot(t) // only root can give files to others
	path := writeKubeconfig(t, "")
	t.Setenv("SUDO_UID", "1") // daemon, on every Debian
	if err := addContext("test", own("kubelite-test"), always); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(made)
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 1 || stat.Gid != 1 {
			t.Errorf("%s belongs to %d:%d, want 1:1", made, stat.Uid, stat.Gid)
		}
	}
}

func TestKubeconfigsBehindSudo(t *testing.T) {
	netnstest.RequireRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", "/root")
	t.Setenv("SUDO_UID", nobody.Uid)
	files, err := userKubeconfigs()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].path != "/root/.kube/config" || files[0].uid != 0 ||
		files[1].path != filepath.Join(nobody.HomeDir, ".kube/config") || files[1].uid != uid {
		t.Errorf("got %+v", files)
	}
}

// TestOwnKubeconfigIsLeft has $KUBECONFIG name the cluster's own file, in the directory that `up` holds locked.
func TestOwnKubeconfigIsLeft(t *testing.T) {
	t.Setenv("KUBECONFIG", dir("test", "kubeconfig"))
	t.Setenv("SUDO_UID", "")
	if err := addContext("test", own("kubelite-test"), always); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir("test")); err == nil {
		t.Error("it made the cluster's directory")
	}
}
