package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubelite/kubelite/examples/classroom"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// exercises are the folders of examples/ with a README that a learner follows, in their order.
var exercises = []string{"sleep", "numbers", "numbers-outside", "external", "kubia", "rules", "services", "modes"}

// TestExercises runs every command of every README on one cluster.
func TestExercises(t *testing.T) {
	netnstest.RequireRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	room, err := classroom.Start(ctx, "lesson", testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := room.Stop(context.WithoutCancel(ctx), testWriter{t}); err != nil {
			t.Error(err)
		}
	}()
	for _, exercise := range exercises {
		t.Run(exercise, func(t *testing.T) {
			if err := teach(ctx, room, exercise, testWriter{t}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTranslations holds the Korean READMEs to the commands of the English ones.
func TestTranslations(t *testing.T) {
	directory, err := classroom.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, exercise := range exercises {
		var commands [2][]string
		for i, name := range []string{"README.md", "README.ko.md"} {
			steps, err := readSteps(filepath.Join(directory, "examples", exercise, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range steps {
				commands[i] = append(commands[i], step.command)
			}
		}
		if !slices.Equal(commands[0], commands[1]) {
			t.Errorf("%s: README.ko.md has other commands than README.md", exercise)
		}
	}
}

// testWriter writes to a test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(data []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(data), "\n"))
	return len(data), nil
}
