package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoFreeAddress is returned when every address of the node's range belongs to a Pod.
var ErrNoFreeAddress = errors.New("no free address in the node's Pod CIDR")

// allocator hands out the addresses of a range, next-fit: each is the first free one *after* the last one given, so that a Pod that
// replaces another gets a new address. State is on disk as the CNI plugin host-local has it: a file an address, which holds
// its owner, and the last address given in lastFile. A file is made before its address is used. Not for concurrent use.
type allocator struct {
	folder      string
	first, last netip.Addr // usable ones; first is the one after the gateway
	gateway     netip.Addr
	cursor      netip.Addr            // the last one given
	owners      map[netip.Addr]string // Pod UIDs
}

const lastFile = "last_reserved_ip"

// openAllocator reads the state in folder and makes the folder if there is none.
func openAllocator(folder string, prefix netip.Prefix) (*allocator, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("open addresses: %w", err)
	}
	gateway := prefix.Masked().Addr().Next()
	a := &allocator{folder: folder, gateway: gateway, first: gateway.Next(), last: broadcast(prefix).Prev(), owners: map[netip.Addr]string{}}
	a.cursor = gateway
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("open addresses: %w", err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("open addresses: %w", err)
		}
		if entry.Name() == lastFile {
			if cursor, err := netip.ParseAddr(strings.TrimSpace(string(content))); err == nil && a.contains(cursor) {
				a.cursor = cursor
			}
			continue
		}
		if address, err := netip.ParseAddr(entry.Name()); err == nil && a.contains(address) {
			a.owners[address] = strings.TrimSpace(string(content)) // empty after a crash: reclaimed
		}
	}
	return a, nil
}

func (a *allocator) contains(address netip.Addr) bool {
	return address.Compare(a.first) >= 0 && address.Compare(a.last) <= 0
}

// allocate returns the owner's address: the one that it has, or else the next free one.
func (a *allocator) allocate(owner string) (netip.Addr, error) {
	for address, current := range a.owners {
		if current == owner {
			return address, nil
		}
	}
	candidate := a.cursor
	for {
		candidate = candidate.Next()
		if !a.contains(candidate) {
			candidate = a.first
		}
		if _, taken := a.owners[candidate]; !taken {
			break
		}
		if candidate == a.cursor {
			return netip.Addr{}, ErrNoFreeAddress
		}
	}
	file := filepath.Join(a.folder, candidate.String())
	if err := os.WriteFile(file, []byte(owner), 0o644); err != nil {
		return netip.Addr{}, fmt.Errorf("reserve address %s: %w", candidate, errors.Join(err, os.RemoveAll(file)))
	}
	a.owners[candidate], a.cursor = owner, candidate
	temporary := filepath.Join(a.folder, "."+lastFile)
	err := os.WriteFile(temporary, []byte(candidate.String()), 0o644)
	if err == nil {
		err = os.Rename(temporary, filepath.Join(a.folder, lastFile))
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("reserve address %s: %w", candidate, errors.Join(err, a.release(owner)))
	}
	return candidate, nil
}

// release frees what the owner has; having nothing is no error.
func (a *allocator) release(owner string) error {
	return a.free(func(current string) bool { return current == owner })
}

// reclaim frees what none of the owners in keep has.
func (a *allocator) reclaim(keep map[string]bool) error {
	return a.free(func(current string) bool { return !keep[current] })
}

func (a *allocator) free(unwanted func(owner string) bool) error {
	var failures []error
	for address, owner := range a.owners {
		if !unwanted(owner) {
			continue
		}
		if err := os.Remove(filepath.Join(a.folder, address.String())); err != nil && !errors.Is(err, os.ErrNotExist) {
			failures = append(failures, fmt.Errorf("free address %s: %w", address, err))
			continue
		}
		delete(a.owners, address)
	}
	return errors.Join(failures...)
}

// broadcast is the last address of an IPv4 range.
func broadcast(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Masked().Addr().As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(bytes)
}
