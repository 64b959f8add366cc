package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/backend"
)

// ErrMissingModule is wrapped by errors that say which module the kernel lacks.
var ErrMissingModule = errors.New("the kernel lacks a module")

// missingModule says what to do about it.
func missingModule(name string) error {
	return fmt.Errorf("%w: %s; load it with `modprobe %s`, or install the kernel's modules "+
		"(linux-modules-extra-$(uname -r) on Ubuntu, linux-image-amd64 on Debian), or choose another --proxy-mode", ErrMissingModule, name, name)
}

// Check says whether this kernel can do what the mode needs with this scheduler; empty for DefaultScheduler. It loads modules
// where it may and tries everything in a network namespace of its own, which is gone afterwards. It may be called from any
// namespace, and needs root.
func Check(scheduler string) error {
	if scheduler == "" {
		scheduler = DefaultScheduler
	}
	if !slices.Contains(Schedulers(), scheduler) {
		return fmt.Errorf("unknown IPVS scheduler %q; there are %s", scheduler, strings.Join(Schedulers(), ", "))
	}
	if err := requireModules(scheduler); err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with the thread
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("make a network namespace to try IPVS in: %w", err)
			return
		}
		result <- try(scheduler)
	}()
	return <-result
}

// try programs one of everything.
func try(scheduler string) error {
	k, err := openKernel(backend.Options{Family: corev1.IPv4Protocol})
	if err != nil {
		return err
	}
	defer k.close()
	probe := server{corev1.ProtocolTCP, netip.MustParseAddrPort("198.51.100.1:1")} // an address of documentation, RFC 5737
	if err := k.addServer(probe, settings{scheduler: scheduler}); err != nil {
		return err
	}
	for _, s := range allSets {
		if err := k.makeSet(s); err != nil {
			return fmt.Errorf("%w: %w", missingModule(moduleOf(s)), err)
		}
	}
	return k.makeLink()
}

// moduleOf is ip_set_hash_ipport for a set of type hash:ip,port.
func moduleOf(s *set) string {
	return "ip_set_" + strings.NewReplacer(":", "_", ",", "").Replace(string(s.kind))
}

// requireModules loads IPVS if it is not there yet. What is missing after that the kernel loads itself, or says that it cannot.
func requireModules(scheduler string) error {
	if _, err := netlink.GenlFamilyGet("IPVS"); err == nil {
		return nil
	}
	// Its complaint says less than missingModule does.
	_ = exec.Command("modprobe", "--all", "ip_vs", "ip_vs_"+scheduler).Run()
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		return missingModule("ip_vs")
	}
	return nil
}
