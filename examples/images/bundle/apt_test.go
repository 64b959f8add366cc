package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestDependencies(t *testing.T) {
	output := `Package: bind9-dnsutils
Provides: dnsutils
Depends: bind9-host | host, libc6 (>= 2.34), perl:any
Pre-Depends: dpkg (>= 1.17.14)
Recommends: bind9-doc
Description: Depends: nothing
`
	want := []string{"bind9-host", "libc6", "perl", "dpkg"}
	if got := dependencies([]byte(output)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestArchives(t *testing.T) {
	output := `Reading package lists...
'http://deb.debian.org/debian/pool/main/b/busybox/busybox_1.35.0-4%2bb1_amd64.deb' busybox_1%3a1.35.0-4+b1_amd64.deb 452120 SHA256:4b35
`
	files, err := archives([]byte(output))
	if err != nil {
		t.Fatal(err)
	}
	if want := []archive{{"busybox", "busybox_1%3a1.35.0-4+b1_amd64.deb", 452120}}; !reflect.DeepEqual(files, want) {
		t.Errorf("got %+v, want %+v", files, want)
	}
	if _, err := archives([]byte("Reading package lists...\n")); err == nil || !strings.Contains(err.Error(), "sources.list") {
		t.Errorf("got %v, want the remedy", err)
	}
}
