package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWget runs the image's wget with stand-ins for busybox and timeout that print what they are asked for.
func TestWget(t *testing.T) {
	directory := t.TempDir()
	for name, text := range map[string]string{
		"busybox": "#!/bin/sh\nshift\nfor a; do printf '<%s>' \"$a\"; done\n",
		"timeout": "#!/bin/sh\nprintf 'within %s: ' \"$1\"\nshift\nexec \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct{ name, arguments, want string }{
		{"no limit", "-q -O - http://web", "<-q><-O><-><http://web>"},
		{"short", "-T 2 -qO- http://web", "within 2: <-qO-><http://web>"},
		{"short, joined", "-T2 http://web", "within 2: <http://web>"},
		{"short, after others", "-qT 2 -O- http://web", "within 2: <-q><-O-><http://web>"},
		{"long", "--spider --timeout=1 http://web", "within 1: <--spider><http://web>"},
		{"last", "http://web -T 5", "within 5: <http://web>"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), "sh", append([]string{"rootfs/base/usr/bin/wget"}, strings.Fields(c.arguments)...)...)
			command.Env = []string{"PATH=" + directory + ":/usr/bin:/bin"}
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			if string(output) != c.want {
				t.Errorf("got %s, want %s", output, c.want)
			}
		})
	}
}
