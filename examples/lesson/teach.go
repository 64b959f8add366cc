package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/kubelite/kubelite/examples/classroom"
)

// teach runs all steps of an exercise's README in one session.
func teach(ctx context.Context, room *classroom.Classroom, exercise string, echo io.Writer) error {
	path := filepath.Join(room.Root, "examples", exercise, "README.md")
	steps, err := readSteps(path)
	if err != nil {
		return err
	}
	terminal, err := newSession(ctx, filepath.Join(room.Root, "examples"), room.Environment, echo)
	if err != nil {
		return err
	}
	defer terminal.close()
	for _, step := range steps {
		if err := terminal.run(step); err != nil {
			return fmt.Errorf("examples/%s/README.md, line %d: %s: %w", exercise, step.line, step.command, err)
		}
	}
	return nil
}
