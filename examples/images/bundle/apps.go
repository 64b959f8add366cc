package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// appNames are the folders of ../apps.
var appNames = []string{"kubia", "numbers-api", "numbers-web"}

// buildApps builds our own programs and returns each one's tree, by name: /app/NAME.
func buildApps(ctx context.Context, work string) (map[string]tree, error) {
	apps := map[string]tree{}
	for _, name := range appNames {
		target := filepath.Join(work, name)
		command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", target,
			"github.com/kubelite/kubelite/examples/images/apps/"+name)
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if output, err := command.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s\nrun this in kubelite's repository, with Go installed", name, err, output)
		}
		data, err := os.ReadFile(target)
		if err != nil {
			return nil, err
		}
		apps[name] = tree{"app/" + name: {mode: 0o755, data: data}}
	}
	return apps, nil
}
