package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stepTimeout bounds one command: they wait for Pods, never longer than this.
const stepTimeout = 90 * time.Second

// session is one bash that runs the commands of a lesson, as a learner's terminal does.
type session struct {
	command *exec.Cmd
	input   io.WriteCloser
	lines   chan string // everything that bash and its children print, until all have ended
	mark    string      // ends the output of a command
	echo    io.Writer
}

// newSession starts bash in a directory. echo gets the transcript.
func newSession(ctx context.Context, directory string, environment []string, echo io.Writer) (*session, error) {
	s := &session{
		command: exec.CommandContext(ctx, "bash", "--noprofile", "--norc"),
		lines:   make(chan string, 1024),
		mark:    "end-" + rand.Text(),
		echo:    echo,
	}
	s.command.Dir = directory
	s.command.Env = environment
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.command.Cancel = func() error { return syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL) }
	var err error
	if s.input, err = s.command.StdinPipe(); err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.command.Stdout, s.command.Stderr = writer, writer
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	writer.Close()
	go func() { // ends when bash and all its children have ended
		defer reader.Close()
		scanner := bufio.NewScanner(reader)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
		close(s.lines)
	}()
	return s, nil
}

// close ends bash and what it left in the background.
func (s *session) close() {
	s.input.Close()
	_ = syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	for range s.lines {
	}
	_ = s.command.Wait() // it was killed
}

// run runs one step and compares its output with what its README shows.
func (s *session) run(step step) error {
	for _, comment := range step.comments {
		fmt.Fprintln(s.echo, comment)
	}
	fmt.Fprintln(s.echo, "$", step.command)
	if _, err := fmt.Fprintf(s.input, "%s\nprintf '\\n%%s %%d\\n' %s $?\n", step.command, s.mark); err != nil {
		return fmt.Errorf("bash has ended: %w", err)
	}
	got, status, err := s.read(step)
	if err != nil {
		return err
	}
	if want := step.wantStatus(); status != want {
		return fmt.Errorf("exit code %d, want %d; it printed:\n%s", status, want, strings.Join(got, "\n"))
	}
	if err := compare(step.want, got); err != nil {
		return fmt.Errorf("%w\nall of the output:\n%s", err, strings.Join(got, "\n"))
	}
	return nil
}

// read reads a step's output to its mark, and for a background step until what its README shows has appeared.
func (s *session) read(step step) (got []string, status int, err error) {
	timeout := time.NewTimer(stepTimeout)
	defer timeout.Stop()
	blank := 0 // blank lines are shown only once another follows: the last one belongs to the mark
	for marked := false; !marked || step.background() && compare(step.want, got) != nil; {
		select {
		case line, open := <-s.lines:
			if !open {
				return got, 0, fmt.Errorf("bash has ended; it printed:\n%s", strings.Join(got, "\n"))
			}
			if code, isMark := strings.CutPrefix(line, s.mark+" "); isMark {
				if status, err = strconv.Atoi(code); err != nil {
					return got, 0, err
				}
				marked, blank = true, 0
				continue
			}
			if line == "" {
				blank++
				continue
			}
			fmt.Fprint(s.echo, strings.Repeat("\n", blank), line, "\n")
			got, blank = append(got, line), 0
		case <-timeout.C:
			return got, 0, fmt.Errorf("no end after %s; it printed:\n%s", stepTimeout, strings.Join(got, "\n"))
		}
	}
	return got, status, nil
}
