package runtime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// createWithConmon starts conmon, which has runc create the container, and returns the PID of its first process: it waits for `runc start`.
// conmon leaves this process's session, and is in a control group of its own: it outlives the agent.
func (h *Host) createWithConmon(ctx context.Context, r record) (pid int, err error) {
	bundle := h.bundleDir(r.ID)
	group, err := h.cgroups.openConmonGroup()
	if err != nil {
		return 0, err
	}
	if group != nil {
		defer group.Close()
	}
	answers, answerEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer answers.Close()
	defer answerEnd.Close()
	goEnd, goAhead, err := os.Pipe() // conmon does nothing before this pipe has said go
	if err != nil {
		return 0, err
	}
	defer goEnd.Close()
	defer goAhead.Close()
	complaints, err := os.Create(filepath.Join(bundle, "conmon.log"))
	if err != nil {
		return 0, err
	}
	defer complaints.Close()
	if err := os.Mkdir(filepath.Join(bundle, "exit"), 0o700); err != nil {
		return 0, err
	}
	cmd := exec.Command(h.config.Conmon, h.conmonArguments(r)...)
	cmd.Dir = bundle
	cmd.Env = append(runcEnvironment(), "_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4")
	cmd.ExtraFiles = []*os.File{answerEnd, goEnd}
	cmd.Stderr = complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start conmon: %w", err)
	}
	answerEnd.Close()
	goEnd.Close()
	if group == nil {
		err = h.cgroups.moveToConmonGroup(cmd.Process.Pid)
	}
	if err == nil {
		_, err = goAhead.Write([]byte{0})
	}
	goAhead.Close()
	if err != nil {
		return 0, errors.Join(fmt.Errorf("start conmon: %w", err), cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	stop := context.AfterFunc(ctx, func() { answers.Close() })
	defer stop()
	pid, err = readPID(answers)
	waitError := ignoreExit(cmd.Wait()) // the conmon that stays is a child of this one
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err == nil && waitError == nil {
		return pid, nil
	}
	if cause := runcError(filepath.Join(bundle, "runc.log")); cause != "" {
		return 0, fmt.Errorf("OCI runtime create failed: %s", cause)
	}
	text, _ := os.ReadFile(complaints.Name()) // more about err, if there is more
	return 0, fmt.Errorf("create with conmon: %w: %s", errors.Join(err, waitError), bytes.TrimSpace(text))
}

func (h *Host) conmonArguments(r record) []string {
	bundle := h.bundleDir(r.ID)
	arguments := []string{
		"--api-version", "1", "--cid", r.ID, "--cuuid", r.ID, "--name", r.Name, "--runtime", h.config.Runc, "--bundle", bundle,
		"--container-pidfile", filepath.Join(bundle, "pid"), "--conmon-pidfile", filepath.Join(bundle, "conmon.pid"),
		"--exit-dir", filepath.Join(bundle, "exit"), "--full-attach", "--no-sync-log", "--log-level", "warning",
	}
	if r.LogPath != "" {
		arguments = append(arguments, "--log-path", "k8s-file:"+r.LogPath)
	} else {
		arguments = append(arguments, "--log-path", "off:")
	}
	for _, option := range h.runcOptions(filepath.Join(bundle, "runc.log")) {
		arguments = append(arguments, "--runtime-arg="+option)
	}
	if r.TTY {
		arguments = append(arguments, "--terminal")
	}
	if r.Stdin {
		arguments = append(arguments, "--stdin")
		if !r.StdinOnce {
			arguments = append(arguments, "--leave-stdin-open")
		}
	}
	return arguments
}

// readPID reads conmon's answer: {"data": PID}, or a negative number if runc has failed.
func readPID(answers io.Reader) (int, error) {
	line, err := bufio.NewReader(answers).ReadBytes('\n')
	if err != nil && len(line) == 0 {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	var answer struct {
		Data    int    `json:"data"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return 0, fmt.Errorf("read answer %q: %w", line, err)
	}
	if answer.Data <= 0 {
		return 0, fmt.Errorf("answer %d: %s", answer.Data, answer.Message)
	}
	return answer.Data, nil
}

// ignoreExit drops an exit code: the answer on the pipe, and runc's log, say more.
func ignoreExit(err error) error {
	if errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}
