package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// runcOptions are before runc's verb.
func (h *Host) runcOptions(logPath string) []string {
	return []string{"--root=" + h.runcRoot(), "--log=" + logPath, "--log-format=json"}
}

// runcEnvironment is runc's, not the container's. It ends before it has garbage worth collecting, and does one thing after the other: without
// a collector and threads for it, it makes a container in a third less time.
func runcEnvironment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "GOGC=off", "GOMAXPROCS=1"}
}

// runc runs a verb that has the container as its only argument.
func (h *Host) runc(ctx context.Context, id, verb string) error {
	logPath := filepath.Join(h.bundleDir(id), "runc.log")
	cmd := exec.CommandContext(ctx, h.config.Runc, append(h.runcOptions(logPath), verb, id)...)
	cmd.Env = runcEnvironment()
	output, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if cause := runcError(logPath); cause != "" {
		return fmt.Errorf("OCI runtime %s failed: %s", verb, cause)
	}
	return fmt.Errorf("OCI runtime %s failed: %w: %s", verb, err, bytes.TrimSpace(output))
}

// runcError is the last error in one of runc's logs (JSON lines), "" if there is none.
func runcError(logPath string) string {
	data, err := os.ReadFile(logPath)
	if err != nil {
		return "" // runc did not come as far as to make it
	}
	found := ""
	for line := range bytes.Lines(data) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			found = cleanRuncError(entry.Msg)
		}
	}
	return found
}

// cleanRuncError takes the noise out of runc's words: line breaks, and what it says of its own insides. `exec: "foo": executable file not found in $PATH`
// is left as it is: learners will look it up.
func cleanRuncError(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	for _, noise := range []string{"container_linux.go:", "process_linux.go:", "standard_init_linux.go:"} {
		for {
			before, after, found := strings.Cut(message, noise)
			if !found {
				break
			}
			_, after, _ = strings.Cut(after, ": ")
			message = before + after
		}
	}
	return message
}
