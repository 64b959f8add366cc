package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Exec runs a command in a running container, with its user, environment and working directory, and returns the command's exit code. What keeps
// the command from starting is an error. When ctx is done the command is killed.
func (h *Host) Exec(ctx context.Context, id string, command []string, streams Streams) (int, error) {
	r, ok := h.record(id)
	if !ok || r.State != Running {
		return 0, fmt.Errorf("exec in container %s: %w", id, ErrNotRunning)
	}
	if len(command) == 0 {
		return 0, fmt.Errorf("exec in container %s: no command specified", id)
	}
	folder, err := os.MkdirTemp(h.bundleDir(id), "exec-")
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", id, err)
	}
	defer os.RemoveAll(folder)
	session := execSession{pidFile: filepath.Join(folder, "pid"), logPath: filepath.Join(folder, "log")}
	arguments := append(h.runcOptions(session.logPath), "exec", "--pid-file", session.pidFile)
	if streams.TTY {
		arguments = append(arguments, "--tty", "--env", "TERM=xterm")
	}
	cmd := exec.Command(h.config.Runc, append(append(arguments, id), command...)...)
	run := session.runWithPipes
	if streams.TTY {
		run = session.runWithTerminal
	}
	err = run(ctx, cmd, streams)
	if ctx.Err() != nil {
		return 0, fmt.Errorf("exec in container %s: %w", id, ctx.Err())
	}
	if !session.hasStarted() {
		if cause := runcError(session.logPath); cause != "" {
			return 0, fmt.Errorf("OCI runtime exec failed: %s", cause)
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", id, err)
	}
	return 0, nil
}

// execSession is one run of `runc exec`.
type execSession struct {
	pidFile, logPath string
}

// hasStarted says whether the command runs, or has: runc has written its PID.
func (s execSession) hasStarted() bool {
	_, err := os.Stat(s.pidFile)
	return err == nil
}

func (s execSession) runWithPipes(ctx context.Context, cmd *exec.Cmd, streams Streams) error {
	cmd.Stdout, cmd.Stderr = streams.Stdout, nil
	if streams.Stderr != nil {
		cmd.Stderr = &commandOutput{Writer: streams.Stderr, session: s}
	}
	if streams.Stdin != nil {
		// not cmd.Stdin: Wait would wait for a reader that nobody closes
		input, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(input, streams.Stdin) // ends with the command, whose exit code counts
			input.Close()
		}()
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer killWhenDone(ctx, cmd)()
	return cmd.Wait()
}

func (s execSession) runWithTerminal(ctx context.Context, cmd *exec.Cmd, streams Streams) error {
	size := &pty.Winsize{Rows: 24, Cols: 80}
	select {
	case first, ok := <-streams.Resize: // the first size usually is there before the command
		if ok {
			size = &pty.Winsize{Rows: first.Height, Cols: first.Width}
		}
	default:
	}
	terminal, err := pty.StartWithSize(cmd, size)
	if err != nil {
		return err
	}
	defer terminal.Close()
	defer killWhenDone(ctx, cmd)()
	var resizing sync.WaitGroup
	ended := make(chan struct{})
	defer func() { close(ended); resizing.Wait() }() // before the terminal is closed
	resizing.Go(func() {
		for {
			select {
			case size, ok := <-streams.Resize:
				if !ok {
					return
				}
				_ = pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width}) // fails only when it is closed
			case <-ended:
				return
			}
		}
	})
	if streams.Stdin != nil {
		go func() { _, _ = io.Copy(terminal, streams.Stdin) }() // ends with the terminal
	}
	output := streams.Stdout
	if output == nil {
		output = io.Discard
	}
	_, _ = io.Copy(&commandOutput{Writer: output, session: s}, terminal) // a terminal's end is EIO
	return cmd.Wait()
}

// killWhenDone kills the command, then runc, when ctx is done. The returned function ends the watch.
func killWhenDone(ctx context.Context, cmd *exec.Cmd) (stop func()) {
	var watching sync.WaitGroup
	ended := make(chan struct{})
	watching.Go(func() {
		select {
		case <-ctx.Done():
			if err := killCommand(cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
				slog.Error("end a cancelled exec", "error", err)
			}
		case <-ended:
		}
	})
	return func() { close(ended); watching.Wait() }
}

// killCommand kills the command, which would outlive runc: it is runc's child. runc is stopped for so long: it starts no other meanwhile, and
// one that has not come to be the command yet ends without runc.
func killCommand(runc *os.Process) error {
	if err := runc.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", runc.Pid))
	if err != nil {
		return err
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err == nil {
				err = unix.Kill(pid, unix.SIGKILL) // a stopped parent has not waited: the PID is no other's
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill command: %w", err)
			}
		}
	}
	return runc.Kill()
}

// commandOutput drops what runc itself prints before the command runs: its log has the same, and it becomes Exec's error.
type commandOutput struct {
	io.Writer
	session execSession
	passing bool
}

func (o *commandOutput) Write(data []byte) (int, error) {
	if !o.passing && !o.session.hasStarted() && runcError(o.session.logPath) != "" && strings.Contains(string(data), "exec failed") {
		return len(data), nil
	}
	o.passing = true
	return o.Writer.Write(data)
}
