package iptables

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/kubelite/kubelite/internal/netfilter"
	"golang.org/x/sys/unix"
)

// How long a generation of x_tables is trusted to mean that no rule changed: a minute, and a hundred times what the last look at all rules
// took. With 10,000 Services of five endpoints that is 1.1 s of a processor, most of it for iptables-legacy-save and the kernel that
// copies the table for it, and more where others want the processor; a change waits meanwhile. No lock is waited for.
const (
	lookInterval = time.Minute
	lookShare    = 100
)

// generation is a number that is another one when someone else changed rules. With nf_tables every change of anything raises the
// kernel's number; those of this process's backends, of both families, are not counted. x_tables does not count at all; there the
// number comes from the size of each table, so that a rule that took another's place can go unnoticed.
func (t tool) generation() (uint32, error) {
	if !t.nft {
		return t.tableSizes()
	}
	current, err := netfilter.Generation()
	if err != nil {
		return 0, err
	}
	commits, err := ownCommits()
	if err != nil {
		return 0, err
	}
	return current - commits.Load(), nil
}

// commits are how many tables the process has changed in each network namespace, by its inode.
var commits sync.Map // of uint64 to *atomic.Uint32

// ownCommits is how many tables the process has changed in the calling thread's network namespace.
func ownCommits() (*atomic.Uint32, error) {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return nil, fmt.Errorf("find own network namespace: %w", err)
	}
	count, _ := commits.LoadOrStore(stat.Ino, new(atomic.Uint32))
	return count.(*atomic.Uint32), nil
}

// seen is the generation at which the kernel was found, or left, as written.
type seen struct {
	valid      bool
	generation uint32
	// at is when that was, and took how long it took to look.
	at   time.Time
	took time.Duration
	// handles are of rules that are in the kernel at this generation and after own changes.
	handles handles
}

// unchanged says whether the rules are still those that were seen.
func (s *seen) unchanged(t tool, current uint32) bool {
	return s.valid && s.generation == current && (t.nft || time.Since(s.at) < max(lookInterval, lookShare*s.took))
}

// writing comes before an own change: what someone else changed until then must not be taken for a part of it.
func (s *seen) writing(t tool) {
	if !t.nft && s.valid {
		current, err := t.generation()
		s.valid = err == nil && current == s.generation
	}
}

// wrote takes note of an own change that has just succeeded.
func (s *seen) wrote(t tool) {
	if !t.nft {
		generation, err := t.generation()
		s.valid, s.generation = s.valid && err == nil, generation
	}
}

// tableInfo is struct ipt_getinfo of linux/netfilter_ipv4/ip_tables.h; ip6t_getinfo is the same.
type tableInfo struct {
	name    [32]byte
	_       [1 + 5 + 5]uint32 // hooks
	entries uint32
	size    uint32 // bytes
}

// tableSizes mixes the number and the size of the rules in the calling thread's network namespace's tables.
func (t tool) tableSizes() (uint32, error) {
	family, level := unix.AF_INET, unix.SOL_IP
	if t.ipv6() {
		family, level = unix.AF_INET6, unix.SOL_IPV6
	}
	const getInfo = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	socket, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return 0, fmt.Errorf("read sizes of tables: %w", err)
	}
	defer unix.Close(socket)
	mixed := uint32(0)
	for _, table := range []string{tableFilter, tableMangle, tableNAT} {
		info := tableInfo{}
		copy(info.name[:], table)
		length := uint32(unsafe.Sizeof(info))
		_, _, failure := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(level), getInfo,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&length)), 0)
		if failure != 0 && failure != unix.ENOENT {
			return 0, fmt.Errorf("read size of table %s: %w", table, failure)
		}
		mixed = mixed*31 + info.entries*7 + info.size
	}
	return mixed, nil
}
