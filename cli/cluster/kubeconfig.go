package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// serverPort is the API server's port on the switch.
const serverPort = 6443

// serverURL is the API server's address for this machine's own programs.
func (c *Cluster) serverURL() string { return fmt.Sprintf("https://127.0.0.1:%d", c.APIPort) }

// ContextName is the cluster's context in a user's kubeconfig: kubelite, or kubelite-NAME for one of another name.
func ContextName(name string) string {
	if name == DefaultName {
		return DefaultName
	}
	return DefaultName + "-" + name
}

// RestConfig is the administrator's access to the cluster, in protobuf and without client-side rate limits.
func (c *Cluster) RestConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of cluster %q: %w", c.Name(), err)
	}
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return config, nil
}

// Client is a clientset over RestConfig.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	config, err := c.RestConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// userKubeconfig is a kubeconfig that a user's kubectl reads.
type userKubeconfig struct {
	path     string
	uid, gid int // of its owner
}

// userKubeconfigs are the kubeconfigs of who ran the command: the first of $KUBECONFIG or, without it, ~/.kube/config. Behind sudo
// there are two: root's, and that of the user who will run kubectl.
func userKubeconfigs() ([]userKubeconfig, error) {
	for _, path := range filepath.SplitList(os.Getenv("KUBECONFIG")) {
		if path != "" {
			_, uid, gid, err := sudoUser()
			return []userKubeconfig{{path, uid, gid}}, err
		}
	}
	return homeKubeconfigs()
}

func homeKubeconfigs() ([]userKubeconfig, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the calling user's home: %w", err)
	}
	files := []userKubeconfig{{filepath.Join(home, ".kube", "config"), os.Geteuid(), os.Getegid()}}
	sudoHome, uid, gid, err := sudoUser()
	if err != nil {
		return nil, err
	}
	switch sudoHome {
	case "":
	case home: // sudo kept $HOME
		files[0].uid, files[0].gid = uid, gid
	default:
		files = append(files, userKubeconfig{filepath.Join(sudoHome, ".kube", "config"), uid, gid})
	}
	return files, nil
}

// sudoUser is the user behind sudo; without sudo it is this process's, with an empty home.
func sudoUser() (home string, uid, gid int, err error) {
	sudo := os.Getenv("SUDO_UID")
	if sudo == "" || os.Geteuid() != 0 {
		return "", os.Geteuid(), os.Getegid(), nil
	}
	account, err := user.LookupId(sudo)
	if err != nil {
		return "", 0, 0, fmt.Errorf("find the user behind sudo: %w", err)
	}
	uid, errUID := strconv.Atoi(account.Uid)
	gid, errGID := strconv.Atoi(account.Gid)
	return account.HomeDir, uid, gid, errors.Join(errUID, errGID)
}

// occasion says when addContext writes.
type occasion int

const (
	always  occasion = iota
	missing          // if the context is not there, or there is no current one
)

// addContext writes the cluster's context into the calling user's kubeconfig and makes it the current one.
func (c *Cluster) addContext(when occasion) error {
	own, err := clientcmd.LoadFromFile(c.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read the kubeconfig of cluster %q: %w", c.Name(), err)
	}
	if err := addContext(c.Name(), own, when); err != nil {
		return fmt.Errorf("cluster %q is up, but your kubeconfig does not lead to it: %w", c.Name(), err)
	}
	return nil
}

// addContext writes the context of a cluster's own kubeconfig into the calling user's.
func addContext(cluster string, own *api.Config, when occasion) error {
	files, err := userKubeconfigs()
	if err != nil {
		return err
	}
	context := own.Contexts[own.CurrentContext]
	return changeAll(cluster, files, func(config *api.Config) bool {
		name := ContextName(cluster)
		if when == missing && config.Contexts[name] != nil && config.CurrentContext != "" {
			return false
		}
		config.Clusters[name] = own.Clusters[context.Cluster]
		config.AuthInfos[name] = own.AuthInfos[context.AuthInfo]
		namespace := ""
		if before := config.Contexts[name]; before != nil {
			namespace = before.Namespace // the user's choice
		}
		config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
		config.CurrentContext = name
		return true
	})
}

// RemoveContext takes the cluster's context out of all kubeconfigs that `up` may have written it to.
func RemoveContext(cluster string) error {
	files, err := userKubeconfigs()
	if err != nil {
		return err
	}
	homes, err := homeKubeconfigs()
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(append(files, homes...), func(file userKubeconfig) bool {
		_, err := os.Stat(file.path)
		return errors.Is(err, fs.ErrNotExist)
	})
	return changeAll(cluster, files, func(config *api.Config) bool {
		name := ContextName(cluster)
		if config.Contexts[name] == nil && config.Clusters[name] == nil && config.AuthInfos[name] == nil {
			return false
		}
		delete(config.Clusters, name)
		delete(config.AuthInfos, name)
		delete(config.Contexts, name)
		if config.CurrentContext == name {
			config.CurrentContext = ""
		}
		return true
	})
}

// changeAll edits kubeconfigs; what else is in them stays. The cluster's own, which $KUBECONFIG may name, is left as it is. change says
// whether it changed anything.
func changeAll(cluster string, files []userKubeconfig, change func(*api.Config) bool) error {
	var failures []error
	for _, file := range files {
		if target, err := filepath.EvalSymlinks(file.path); err == nil {
			file.path = target
		}
		if file.path != dir(cluster, "kubeconfig") {
			failures = append(failures, file.change(change))
		}
	}
	return errors.Join(failures...)
}

func (f userKubeconfig) change(change func(*api.Config) bool) error {
	path, uid, gid := f.path, f.uid, f.gid
	directory := filepath.Dir(path)
	if err := makeDirectory(directory, uid, gid); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	unlock, err := lockDirectory(directory) // against another cluster's `up` or `down`
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer unlock()
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		config, err = api.NewConfig(), nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w: mend or remove that file; the cluster's own is printed by `kubelite kubeconfig`", path, err)
	}
	if !change(config) {
		return nil
	}
	if info, err := os.Stat(path); err == nil { // behind a link it may be another's: it stays his
		owner := info.Sys().(*syscall.Stat_t)
		uid, gid = int(owner.Uid), int(owner.Gid)
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := writeFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Chown(path, uid, gid); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// makeDirectory makes the directory and those above it that are missing, all owned by the user.
func makeDirectory(path string, uid, gid int) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDirectory(filepath.Dir(path), uid, gid); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chown(path, uid, gid)
}
