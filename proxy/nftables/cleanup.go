package nftables

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Cleanup deletes the tables of both families from the calling thread's network namespace, whatever is in them. Where there is none it
// does nothing, even where the kernel has no nf_tables at all.
func Cleanup(context.Context) error {
	c, err := dial()
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.close()
	for _, f := range []family{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		// The kernel takes a table's hooks away one after the other: nothing may be refused that is translated no more.
		for _, change := range []func(*batch){func(b *batch) { b.flushSet(clusterIPs) }, (*batch).deleteTable} {
			b := newBatch(layout{family: f}, tableName, 0)
			change(b)
			err := commit(c, b)
			if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
				return err
			}
		}
	}
	return nil
}
