package streaming

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	command := r.URL.Query()["command"]
	if len(command) == 0 {
		http.Error(w, "you must specify at least 1 command for the container", http.StatusBadRequest)
		return
	}
	process, err := s.pods.RunningContainer(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if err != nil {
		refuse(w, err)
		return
	}
	if isV5(r) {
		s.serveV5(w, r, options, func(ctx context.Context, streams runtime.Streams) error {
			return s.run(ctx, process.ID, command, streams)
		})
		return
	}
	remotecommand.ServeExec(w, r, executor{s, process.ID}, "", "", r.PathValue("container"), command, options,
		idleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	process, err := s.pods.RunningContainer(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if err != nil {
		refuse(w, err)
		return
	}
	if isV5(r) {
		s.serveV5(w, r, options, func(ctx context.Context, streams runtime.Streams) error {
			return s.runtime.Attach(ctx, process.ID, streams)
		})
		return
	}
	remotecommand.ServeAttach(w, r, executor{s, process.ID}, "", "", r.PathValue("container"), options,
		idleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

// run runs a command; an exit code other than 0 is a utilexec.ExitError.
func (s *Server) run(ctx context.Context, id string, command []string, streams runtime.Streams) error {
	code, err := s.runtime.Exec(ctx, id, command, streams)
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// executor makes a Server what ServeExec and ServeAttach call.
type executor struct {
	server *Server
	id     string
}

func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, errors io.WriteCloser, tty bool,
	resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	return e.server.run(ctx, e.id, command, streamsOf(ctx, in, out, errors, tty, resize))
}

func (e executor) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, errors io.WriteCloser, tty bool,
	resize <-chan remotecommand.TerminalSize) error {
	return e.server.runtime.Attach(ctx, e.id, streamsOf(ctx, in, out, errors, tty, resize))
}

func streamsOf(ctx context.Context, in io.Reader, out, errors io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) runtime.Streams {
	streams := runtime.Streams{TTY: tty, Stdin: in}
	if out != nil { // a nil interface of one kind is not one of the other
		streams.Stdout = out
	}
	if errors != nil {
		streams.Stderr = errors
	}
	if resize != nil {
		sizes := make(chan runtime.TerminalSize)
		streams.Resize = sizes
		go convertSizes(ctx, resize, sizes)
	}
	return streams
}

// convertSizes ends when the client's sizes do, or ctx is done.
func convertSizes(ctx context.Context, from <-chan remotecommand.TerminalSize, to chan<- runtime.TerminalSize) {
	defer close(to)
	for {
		select {
		case size, open := <-from:
			if !open {
				return
			}
			select {
			case to <- runtime.TerminalSize{Width: size.Width, Height: size.Height}:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
