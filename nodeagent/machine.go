package nodeagent

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubelite/kubelite/internal/version"
)

// machine is what the node says of the computer it runs on.
type machine struct {
	info     v1.NodeSystemInfo
	capacity v1.ResourceList
}

// inspectMachine reads what there is. What cannot be read is left out or zero, but for memory: a node without any is of no use.
func inspectMachine(rootDir, runtimeVersion string, maxPods int) (machine, error) {
	memory, err := totalMemory("/proc/meminfo")
	if err != nil {
		return machine{}, err
	}
	result := machine{
		info: v1.NodeSystemInfo{
			MachineID: readLine("/etc/machine-id"), SystemUUID: readLine("/sys/class/dmi/id/product_uuid"),
			BootID: readLine("/proc/sys/kernel/random/boot_id"), OSImage: osImage("/etc/os-release"),
			OperatingSystem: "linux", Architecture: runtime.GOARCH,
			ContainerRuntimeVersion: runtimeVersion, KubeletVersion: version.Git,
		},
		capacity: v1.ResourceList{
			v1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
			v1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
			v1.ResourcePods:   *resource.NewQuantity(int64(maxPods), resource.DecimalSI),
		},
	}
	if result.info.SystemUUID == "" {
		result.info.SystemUUID = result.info.MachineID
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		result.info.KernelVersion = unix.ByteSliceToString(name.Release[:])
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(rootDir, &disk); err == nil {
		result.capacity[v1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(disk.Blocks)*disk.Bsize, resource.BinarySI)
	}
	return result, nil
}

func readLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// totalMemory is MemTotal in bytes.
func totalMemory(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read memory size: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read memory size: %w", err)
			}
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("read memory size: %s has no MemTotal", path)
}

func osImage(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); found {
			return strings.Trim(value, `"'`)
		}
	}
	return "Linux"
}
