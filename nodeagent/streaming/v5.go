package streaming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	utilexec "k8s.io/utils/exec"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// isV5 says whether the client speaks v5.channel.k8s.io (KEP-4006), kubectl's first choice: WebSocket channels that can be closed one by
// one, so that the end of standard input can be told. remotecommand serves SPDY and v4 only.
func isV5(r *http.Request) bool { return wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) }

// serveV5 runs a command or an attach over a WebSocket and ends with its status on the error channel.
func (s *Server) serveV5(w http.ResponseWriter, r *http.Request, options *remotecommand.Options, run func(context.Context, runtime.Streams) error) {
	pick := func(wanted bool, kind wsstream.ChannelType) wsstream.ChannelType {
		if wanted {
			return kind
		}
		return wsstream.IgnoreChannel
	}
	channels := []wsstream.ChannelType{
		remotecommand.StreamStdIn:  pick(options.Stdin, wsstream.ReadChannel),
		remotecommand.StreamStdOut: pick(options.Stdout, wsstream.WriteChannel),
		remotecommand.StreamStdErr: pick(options.Stderr, wsstream.WriteChannel),
		remotecommand.StreamErr:    wsstream.WriteChannel,
		remotecommand.StreamResize: wsstream.ReadChannel,
	}
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: {Binary: true, Channels: channels},
	})
	conn.SetIdleTimeout(idleTimeout)
	_, opened, err := conn.Open(w, r)
	if err != nil {
		slog.Error("accept websocket", "path", r.URL.Path, "error", err)
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	streams := runtime.Streams{TTY: options.TTY}
	if options.Stdin {
		streams.Stdin = opened[remotecommand.StreamStdIn]
	}
	if options.Stdout {
		streams.Stdout = opened[remotecommand.StreamStdOut]
	}
	if options.Stderr {
		streams.Stderr = opened[remotecommand.StreamStdErr]
	}
	if options.TTY {
		sizes := make(chan runtime.TerminalSize)
		streams.Resize = sizes
		go readSizes(ctx, opened[remotecommand.StreamResize], sizes)
	}
	status, err := json.Marshal(statusOf(run(ctx, streams)))
	if err != nil {
		slog.Error("encode status of command", "error", err)
		return
	}
	if _, err := opened[remotecommand.StreamErr].Write(status); err != nil {
		slog.Debug("send status of command", "error", err)
	}
}

// readSizes reads the terminal's sizes, a JSON object each, until the connection is closed or ctx is done.
func readSizes(ctx context.Context, from io.Reader, to chan<- runtime.TerminalSize) {
	defer close(to)
	decoder := json.NewDecoder(from)
	for {
		var size remotecommand.TerminalSize
		if err := decoder.Decode(&size); err != nil {
			return
		}
		select {
		case to <- runtime.TerminalSize{Width: size.Width, Height: size.Height}:
		case <-ctx.Done():
			return
		}
	}
}

// statusOf is how the end of a command is told since v4.channel.k8s.io.
func statusOf(err error) metav1.Status {
	if err == nil {
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	var exit utilexec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return metav1.Status{
			Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
			Message: fmt.Sprintf("command terminated with non-zero exit code: %v", exit),
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.ExitStatus())}}},
		}
	}
	return metav1.Status{
		Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Code: http.StatusInternalServerError,
		Message: fmt.Sprintf("Internal error occurred: error executing command in container: %v", err),
	}
}
