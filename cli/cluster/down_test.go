package cluster

import (
	"slices"
	"strings"
	"testing"
)

func TestMountPointsBelow(t *testing.T) {
	const mounts = `22 1 0:21 / / rw - ext4 /dev/vda rw
40 22 0:40 / /run/kubelite rw - tmpfs tmpfs rw
41 40 0:41 / /run/kubelite/a rw shared:1 - tmpfs tmpfs rw
42 41 0:42 / /run/kubelite/a/node-1/pods/x/rootfs rw - overlay overlay rw,lowerdir=/l
43 42 0:43 / /run/kubelite/a/node-1/pods/x/rootfs/with\040space\134and rw - tmpfs tmpfs rw
44 41 0:44 / /run/kubelite/ab/node-1 rw - tmpfs tmpfs rw
45 41 0:45 / /run/kubelite/a/second rw - tmpfs tmpfs rw
46 41 0:45 / /run/kubelite/a/second rw - tmpfs tmpfs rw
short line
`
	got, err := mountPointsBelow(strings.NewReader(mounts), "/run/kubelite/a")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/run/kubelite/a/second",
		"/run/kubelite/a/second",
		`/run/kubelite/a/node-1/pods/x/rootfs/with space\and`,
		"/run/kubelite/a/node-1/pods/x/rootfs",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLongMountLine(t *testing.T) {
	layers := strings.Repeat("/var/lib/kubelite/images/layers/sha256:aaaa:", 5000) // an overlay of many layers
	line := "42 41 0:42 / /run/kubelite/a/rootfs rw - overlay overlay rw,lowerdir=" + layers + "\n"
	if got, err := mountPointsBelow(strings.NewReader(line), "/run/kubelite/a"); err != nil || len(got) != 1 {
		t.Errorf("got %q, %v", got, err)
	}
}
