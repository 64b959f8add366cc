package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/nodeagent/network"
)

// sandboxRecord is a Sandbox and what it was made from. RunDir/sandboxes/UID/sandbox.json is written last: a sandbox without it
// is unfinished.
type sandboxRecord struct {
	Sandbox
	Hostname  string
	HostPorts []HostPort
}

func (h *Host) sandboxDir(podUID string) string {
	return filepath.Join(h.config.RunDir, "sandboxes", podUID)
}

func (h *Host) netNSName(podUID string) string { return h.config.NetNSPrefix + "-pod-" + podUID }

// StartSandbox makes the Pod's namespaces and joins it to the node. An unfinished sandbox is removed first.
func (h *Host) StartSandbox(_ context.Context, config SandboxConfig) (Sandbox, error) {
	if !isUID(config.PodUID) {
		return Sandbox{}, fmt.Errorf("start sandbox of Pod %s/%s: %q is not a UID", config.PodNamespace, config.PodName, config.PodUID)
	}
	if existing, ok := h.sandbox(config.PodUID); ok {
		return existing.Sandbox, nil
	}
	if err := h.removeSandbox(config.PodUID); err != nil {
		return Sandbox{}, fmt.Errorf("start sandbox of Pod %s/%s: remove an earlier one: %w", config.PodNamespace, config.PodName, err)
	}
	record := sandboxRecord{
		Sandbox: Sandbox{
			PodUID: config.PodUID, PodNamespace: config.PodNamespace, PodName: config.PodName, HostNetwork: config.HostNetwork, Started: time.Now(),
		},
		Hostname: config.Hostname, HostPorts: config.HostPorts,
	}
	if err := h.makeSandbox(config, &record); err != nil {
		return Sandbox{}, fmt.Errorf("start sandbox of Pod %s/%s: %w", config.PodNamespace, config.PodName, errors.Join(err, h.removeSandbox(config.PodUID)))
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.sandboxes[config.PodUID] = record
	return record.Sandbox, nil
}

func (h *Host) makeSandbox(config SandboxConfig, record *sandboxRecord) error {
	folder := h.sandboxDir(config.PodUID)
	shm := filepath.Join(folder, "shm")
	if err := os.MkdirAll(shm, 0o711); err != nil {
		return err
	}
	if err := pinNamespaces(folder, config.Hostname, config.Sysctls); err != nil {
		return err
	}
	if err := unix.Mount("shm", shm, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=65536k"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "hostname"), []byte(config.Hostname+"\n"), 0o644); err != nil {
		return err
	}
	if config.HostNetwork {
		record.IP = nodeAddress()
	} else {
		path, err := netns.New(h.netNSName(config.PodUID))
		if err != nil {
			return err
		}
		record.NetNS = path
		if err := prepareNetwork(path, config.Sysctls); err != nil {
			return err
		}
		addresses, err := h.config.Network.Attach(config.PodUID, path)
		if err != nil {
			return err
		}
		record.IP, record.IPv6 = addresses.IPv4, addresses.IPv6
		ports := make([]network.HostPort, len(config.HostPorts))
		for i, port := range config.HostPorts {
			ports[i] = network.HostPort(port)
		}
		if err := h.config.Network.OpenHostPorts(config.PodUID, record.IP, ports); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(folder, "sandbox.json"), record)
}

// StopSandbox ends the Pod's containers and removes all that there is of the Pod. It can be tried again after an error.
func (h *Host) StopSandbox(ctx context.Context, podUID string) error {
	if !isUID(podUID) {
		return nil
	}
	if err := h.removeContainersOf(ctx, podUID); err != nil {
		return fmt.Errorf("stop sandbox of Pod %s: %w", podUID, err)
	}
	if err := h.removeSandbox(podUID); err != nil {
		return fmt.Errorf("stop sandbox of Pod %s: %w", podUID, err)
	}
	return nil
}

func (h *Host) removeContainersOf(ctx context.Context, podUID string) error {
	h.mutex.Lock()
	var own []record
	for _, record := range h.containers {
		if record.PodUID == podUID {
			own = append(own, record)
		}
	}
	h.mutex.Unlock()
	var failures []error
	for _, record := range own {
		if record.State == Running && record.started() {
			if err := record.Process.end(10 * time.Second); err != nil {
				failures = append(failures, fmt.Errorf("end container %s: %w", record.Name, err))
				continue
			}
			if err := record.Conmon.wait(10*time.Second, nil); err != nil { // it still writes the log and the exit code
				failures = append(failures, fmt.Errorf("wait for the end of container %s: %w", record.Name, err))
				continue
			}
			if latest, ok := h.record(record.ID); ok {
				h.finish(latest)
			}
		}
		failures = append(failures, h.RemoveContainer(ctx, record.ID))
	}
	return errors.Join(failures...)
}

// removeSandbox removes what there is of a sandbox, whole or not.
func (h *Host) removeSandbox(podUID string) error {
	h.mutex.Lock()
	record, known := h.sandboxes[podUID]
	delete(h.sandboxes, podUID)
	h.mutex.Unlock()
	folder := h.sandboxDir(podUID)
	var failures []error
	if _, err := os.Stat(folder); err == nil {
		for _, mount := range []string{"shm", "ipc", "uts"} {
			failures = append(failures, unmount(filepath.Join(folder, mount)))
		}
	}
	if !known || len(record.HostPorts) > 0 {
		failures = append(failures, h.closeHostPortsOf(podUID, known))
	}
	failures = append(failures, h.config.Network.Detach(podUID), netns.Delete(h.netNSName(podUID)), h.cgroups.remove(podGroup(podUID)))
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return os.RemoveAll(folder)
}

// closeHostPortsOf asks iptables only where there may be something: of a sandbox that is not known, if it has left a folder.
func (h *Host) closeHostPortsOf(podUID string, known bool) error {
	if _, err := os.Stat(h.sandboxDir(podUID)); err != nil && !known {
		return nil
	}
	return h.config.Network.CloseHostPorts(podUID)
}

// Sandboxes lists the Pods whose namespaces are there.
func (h *Host) Sandboxes(context.Context) ([]Sandbox, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	sandboxes := make([]Sandbox, 0, len(h.sandboxes))
	for _, record := range h.sandboxes {
		if h.exists(record) {
			sandboxes = append(sandboxes, record.Sandbox)
		}
	}
	return sandboxes, nil
}

func (h *Host) sandbox(podUID string) (sandboxRecord, bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	record, ok := h.sandboxes[podUID]
	return record, ok && h.exists(record)
}

// exists says whether the namespaces are still mounted; someone may have deleted them by hand.
func (h *Host) exists(record sandboxRecord) bool {
	const nsfsMagic = 0x6e736673
	for _, kind := range []string{"ipc", "uts"} {
		var stat unix.Statfs_t
		if err := unix.Statfs(filepath.Join(h.sandboxDir(record.PodUID), kind), &stat); err != nil || stat.Type != nsfsMagic {
			return false
		}
	}
	return record.HostNetwork || netns.Exists(h.netNSName(record.PodUID))
}

// adoptSandboxes reads the records of whole sandboxes and removes the others, with what still runs in them: a container without its
// Pod's network is started anew.
func (h *Host) adoptSandboxes() {
	entries, err := os.ReadDir(filepath.Join(h.config.RunDir, "sandboxes"))
	if err != nil {
		slog.Error("adopt sandboxes", "error", err)
		return
	}
	for _, entry := range entries {
		var record sandboxRecord
		err := readJSON(filepath.Join(h.sandboxDir(entry.Name()), "sandbox.json"), &record)
		if err == nil && record.PodUID == entry.Name() && h.exists(record) {
			h.sandboxes[record.PodUID] = record
		} else if err := errors.Join(h.cgroups.kill(podGroup(entry.Name())), h.removeSandbox(entry.Name())); err != nil {
			slog.Error("remove unfinished sandbox", "pod", entry.Name(), "error", err)
		}
	}
}

// Reclaim frees the addresses and host ports that a crash has left without a sandbox. The network must have been set up.
func (h *Host) Reclaim() error {
	h.mutex.Lock()
	uids := make([]string, 0, len(h.sandboxes))
	for uid := range h.sandboxes {
		uids = append(uids, uid)
	}
	h.mutex.Unlock()
	return h.config.Network.Reclaim(uids)
}

// isUID keeps paths made from a UID inside their folder. UIDs of static Pods are hashes, so more than UUIDs are good.
func isUID(uid string) bool {
	return uid != "" && len(uid) <= 128 && strings.Trim(uid, ".") != "" && !strings.ContainsAny(uid, "/\x00")
}
