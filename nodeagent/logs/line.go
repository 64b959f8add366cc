package logs

import (
	"bytes"
	"fmt"
	"time"
)

// line is one line of a CRI log.
type line struct {
	time    []byte // RFC 3339 with nanoseconds, as written
	stderr  bool
	partial bool // the text goes on in the next line of the stream
	text    []byte
}

// parse reads a line without its line feed.
func parse(raw []byte) (line, error) {
	stamp, rest, ok1 := bytes.Cut(raw, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tags, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok3 {
		tags = rest // an empty line may end after its tag
	}
	if !ok1 || !ok2 || string(stream) != "stdout" && string(stream) != "stderr" {
		return line{}, fmt.Errorf("log line is not in CRI format: %.80q", raw)
	}
	tag, _, _ := bytes.Cut(tags, []byte{':'})
	return line{time: stamp, stderr: string(stream) == "stderr", partial: string(tag) == "P", text: text}, nil
}

// stamp is the time as the kubelet prints it: nine digits, and Z for UTC, which conmon writes as +00:00.
func (l line) stamp() []byte {
	at, err := time.Parse(time.RFC3339Nano, string(l.time))
	if err != nil {
		return l.time
	}
	return at.AppendFormat(nil, "2006-01-02T15:04:05.000000000Z07:00")
}

func (l line) after(since time.Time) bool {
	if since.IsZero() {
		return true
	}
	at, err := time.Parse(time.RFC3339Nano, string(l.time))
	return err != nil || !at.Before(since)
}
