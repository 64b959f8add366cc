package iptables

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/kubelite/kubelite/internal/netfilter"
	"golang.org/x/sys/unix"
)

// lookInterval is how long a generation of x_tables is trusted to mean that no rule changed.
const lookInterval = time.Minute

// generation is a number that is another one when rules have changed. With nf_tables every change of anything raises it. x_tables
// does not count; its number comes from the size of each table, so that a rule that took another's place can go unnoticed.
func (t tool) generation() (uint32, error) {
	if t.nft {
		return netfilter.Generation()
	}
	return t.tableSizes()
}

// seen is the generation at which the kernel was found, or left, as written.
type seen struct {
	valid      bool
	generation uint32
	at         time.Time
}

// unchanged says whether the rules are still those that were seen.
func (s *seen) unchanged(t tool, current uint32) bool {
	return s.valid && s.generation == current && (t.nft || time.Since(s.at) < lookInterval)
}

// wrote takes note of an own change that has just succeeded. With nf_tables each table that it changed raised the generation by one;
// if anyone else changed something at the same time, the numbers do not meet.
func (s *seen) wrote(t tool, step *transaction) {
	if t.nft {
		s.generation += uint32(len(step.tables))
		return
	}
	generation, err := t.generation()
	s.valid, s.generation = s.valid && err == nil, generation
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
