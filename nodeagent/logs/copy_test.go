package logs

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sample = `2026-11-21T12:00:00.000000001+00:00 stdout F one
2026-11-21T12:00:01.000000000Z stderr F two
2026-11-21T12:00:02.000000000Z stdout P thr
2026-11-21T12:00:02.000000001Z stdout F ee
2026-11-21T12:00:03.000000000Z stdout F 
`

func writeSample(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCopy(t *testing.T) {
	path := writeSample(t)
	for _, test := range []struct {
		name    string
		options Options
		want    string
	}{
		{"all", Options{}, "one\ntwo\nthree\n\n"},
		{"tail", Options{Tail: 4}, "two\nthree\n\n"},
		{"more than there is", Options{Tail: 40}, "one\ntwo\nthree\n\n"},
		{"none", Options{Tail: -1}, ""},
		{"since", Options{Since: time.Date(2026, 11, 21, 12, 0, 2, 0, time.UTC)}, "three\n\n"},
		{"limit", Options{LimitBytes: 5}, "one\nt"},
		{"timestamps as the kubelet has them", Options{LimitBytes: 35, Timestamps: true}, "2026-11-21T12:00:00.000000001Z one\n"},
		{"timestamps", Options{Tail: 3, Timestamps: true}, "2026-11-21T12:00:02.000000000Z three\n2026-11-21T12:00:03.000000000Z \n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Copy(t.Context(), &out, &out, path, test.options); err != nil || out.String() != test.want {
				t.Errorf("got %q, %v, want %q", out.String(), err, test.want)
			}
		})
	}
	var stdout, stderr bytes.Buffer
	if err := Copy(t.Context(), &stdout, &stderr, path, Options{}); err != nil || stdout.String() != "one\nthree\n\n" || stderr.String() != "two\n" {
		t.Errorf("streams %q %q %v", stdout.String(), stderr.String(), err)
	}
}

func TestCopyFollowsToTheEnd(t *testing.T) {
	path := writeSample(t)
	ended := make(chan struct{})
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Copy(context.Background(), writer, writer, path, Options{Tail: -1, Ended: ended})
		writer.Close()
	}()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// Copy may open the file before or after the first line is there; the rest it must follow.
	lines := make(chan string)
	go func() {
		text, _ := io.ReadAll(reader)
		lines <- string(text)
	}()
	for _, line := range []string{"first", "second"} {
		if _, err := file.WriteString("2026-11-21T12:00:04Z stdout F " + line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := <-lines; !strings.HasSuffix("first\nsecond\n", got) {
		t.Errorf("got %q", got)
	}
}

func TestCopyFollowStops(t *testing.T) {
	path := writeSample(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- Copy(ctx, &out, &out, path, Options{Ended: make(chan struct{})}) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCopyRefusesOtherFormats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), io.Discard, io.Discard, path, Options{}); err == nil || !strings.Contains(err.Error(), "CRI format") {
		t.Errorf("got %v", err)
	}
}
