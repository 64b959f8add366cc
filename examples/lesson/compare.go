package main

import (
	"fmt"
	"regexp"
	"strings"
)

// forms are what differs from run to run, and what stands for it in a comparison. The order matters: longer forms come first.
var forms = []struct {
	pattern *regexp.Regexp
	form    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "UID"},
	{regexp.MustCompile(`\b10\.244\.\d+\.\d+\b`), "POD-IP"},
	{regexp.MustCompile(`\b10\.(9[6-9]|10\d|11[01])\.\d+\.\d+\b`), "CLUSTER-IP"},
	{regexp.MustCompile(`\b192\.168\.1\.2[0-5]\d\b`), "LOAD-BALANCER-IP"},
	{regexp.MustCompile(`\bKUBE-(SVC|SEP|EXT|FW|SVL)-[A-Z2-7]{16}\b`), "KUBE-$1-HASH"},
	{regexp.MustCompile(`-[bcdf0-9ghjklmnpqrstvwxz]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "-HASH-POD"}, // a Deployment's Pod
	{regexp.MustCompile(`-[bcdf0-9ghjklmnpqrstvwxz]{9,10}\b`), "-HASH"},                                      // its ReplicaSet
	{regexp.MustCompile(`:3[0-2]\d{3}/`), ":NODE-PORT/"},
	{regexp.MustCompile(`\bHere it is: \d+`), "Here it is: NUMBER"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(/\d+(\.\d+)?)* ?(ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\b(\d+d)?(\d+h)?(\d+m)?(\d+s)\b|\b\d+[dhm]\b`), "TIME"},
}

// normalize replaces what differs from run to run by its form, and folds white space.
func normalize(line string) string {
	for _, f := range forms {
		line = f.pattern.ReplaceAllString(line, f.form)
	}
	return strings.Join(strings.Fields(line), " ")
}

// matches says whether a line of output is what a README's line shows. "…" stands for anything.
func matches(want, got string) bool {
	parts := strings.Split(normalize(want), "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(part)) // what "…" stands for may be nothing, with the space beside it
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(normalize(got))
}

// compare returns what is wrong with the output, line by line. A README's line that is only "…" stands for any lines.
func compare(want, got []string) error {
	want, got = trimBlank(want), trimBlank(got)
	if len(want) == 0 {
		return nil // the README shows no output: the exit code is what matters
	}
	i, j := 0, 0
	for i < len(want) {
		if strings.TrimSpace(want[i]) == "…" {
			if i++; i == len(want) {
				return nil
			}
			for j < len(got) && !matches(want[i], got[j]) {
				j++
			}
			continue
		}
		if j >= len(got) {
			return fmt.Errorf("line %d is missing: want %q", i+1, want[i])
		}
		if !matches(want[i], got[j]) {
			return fmt.Errorf("line %d differs:\n   want %q\n    got %q", i+1, want[i], got[j])
		}
		i, j = i+1, j+1
	}
	if j < len(got) {
		return fmt.Errorf("there is more output than the README shows: %q", got[j])
	}
	return nil
}

// trimBlank leaves out blank lines, which READMEs and programs use differently, and what a port-forward in the background says
// of each connection, which comes at any time.
func trimBlank(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "Handling connection for ") {
			kept = append(kept, line)
		}
	}
	return kept
}
