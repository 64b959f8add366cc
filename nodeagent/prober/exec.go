package prober

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

func (p *Prober) probeExec(ctx context.Context, target *Target, command []string, timeout time.Duration) verdict {
	output, code, err := p.exec(ctx, target.ContainerID, command)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return verdict{message: fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(command, " "), timeout)}
	}
	if err != nil {
		return verdict{err: err}
	}
	return verdict{success: code == 0, message: failureText(output, code)}
}

// failureText is what a command that has failed printed, nothing for one that has not.
func failureText(output []byte, code int) string {
	if code == 0 {
		return ""
	}
	return string(output[:min(len(output), mostBody)])
}
