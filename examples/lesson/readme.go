package main

import (
	"fmt"
	"os"
	"strings"
)

// step is one command of a README.
type step struct {
	comments []string // the lines before it that begin with #
	command  string   // may span lines, joined by \ at their ends
	want     []string // the output that is shown
	line     int      // in the README, from 1
}

// readSteps reads the console blocks of a README.
func readSteps(path string) ([]step, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var steps []step
	var comments []string
	inBlock, continued := false, false
	for number, text := range strings.Split(string(data), "\n") {
		switch {
		case !inBlock:
			inBlock = strings.TrimSpace(text) == "```console"
		case strings.TrimSpace(text) == "```":
			inBlock, comments = false, nil
		case continued:
			last := &steps[len(steps)-1]
			last.command += "\n" + text
			continued = strings.HasSuffix(text, `\`)
		case strings.HasPrefix(text, "# "):
			comments = append(comments, text)
		case strings.HasPrefix(text, "$ "):
			command := strings.TrimPrefix(text, "$ ")
			steps = append(steps, step{comments: comments, command: command, line: number + 1})
			comments, continued = nil, strings.HasSuffix(command, `\`)
		case len(steps) == 0 || comments != nil:
			return nil, fmt.Errorf("%s:%d: output without a command before it: %q", path, number+1, text)
		default:
			last := &steps[len(steps)-1]
			last.want = append(last.want, text)
		}
	}
	if inBlock {
		return nil, fmt.Errorf("%s: the last console block has no end", path)
	}
	if steps == nil {
		return nil, fmt.Errorf("%s: there is no console block with a command in it", path)
	}
	return steps, nil
}

// background says whether the command goes on while the lesson does.
func (s step) background() bool { return strings.HasSuffix(strings.TrimSpace(s.command), "&") }

// wantStatus is the exit code that the command should have, by what its output shows.
func (s step) wantStatus() int {
	status := 0
	if len(s.want) > 0 {
		if _, err := fmt.Sscanf(s.want[len(s.want)-1], "command terminated with exit code %d", &status); err != nil {
			return 0
		}
	}
	return status
}
