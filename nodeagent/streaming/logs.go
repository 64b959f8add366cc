package streaming

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/kubelite/kubelite/nodeagent/logs"
)

func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	options, err := logOptions(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	previous, err := flag(query, "previous")
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	log, err := s.pods.ContainerLog(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), previous)
	if err != nil {
		refuse(w, err)
		return
	}
	follow, err := flag(query, "follow")
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	if follow {
		options.Ended = log.Ended
	}
	if _, err := os.Stat(log.Path); err != nil {
		http.Error(w, fmt.Sprintf("unable to retrieve container logs for %s: %v", r.PathValue("container"), err), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	output := io.Writer(w)
	if follow {
		output = flushing{w, http.NewResponseController(w)}
		if err := http.NewResponseController(w).Flush(); err != nil { // the client sees that it is connected
			return
		}
	}
	stdout, stderr := output, output
	switch query.Get("stream") {
	case "Stdout":
		stderr = nil
	case "Stderr":
		stdout = nil
	}
	if err := logs.Copy(r.Context(), stdout, stderr, log.Path, options); err != nil && r.Context().Err() == nil {
		slog.Error("send container log", "path", log.Path, "error", err)
	}
}

// flushing sends each line at once.
type flushing struct {
	io.Writer
	controller *http.ResponseController
}

func (f flushing) Write(data []byte) (int, error) {
	n, err := f.Writer.Write(data)
	if err != nil {
		return n, err
	}
	return n, f.controller.Flush()
}

func flag(query url.Values, name string) (bool, error) {
	value := query.Get(name)
	if value == "" {
		return false, nil
	}
	set, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("invalid value %q for %s: must be true or false", value, name)
	}
	return set, nil
}

// logOptions reads the options by the names that they have in the Pod's log subresource (v1.PodLogOptions).
func logOptions(query url.Values) (logs.Options, error) {
	var options logs.Options
	var err error
	if options.Timestamps, err = flag(query, "timestamps"); err != nil {
		return options, err
	}
	number := func(name string, use func(int64)) error {
		text := query.Get(name)
		if text == "" || text == "all" {
			return nil
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < 0 {
			return fmt.Errorf("invalid value %q for %s: must be greater than or equal to 0", text, name)
		}
		use(value)
		return nil
	}
	if err := number("tailLines", func(value int64) {
		options.Tail = value
		if value == 0 {
			options.Tail = -1
		}
	}); err != nil {
		return options, err
	}
	if err := number("limitBytes", func(value int64) { options.LimitBytes = value }); err != nil {
		return options, err
	}
	if err := number("sinceSeconds", func(value int64) { options.Since = time.Now().Add(-time.Duration(value) * time.Second) }); err != nil {
		return options, err
	}
	if text := query.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return options, fmt.Errorf("invalid value %q for sinceTime: %w", text, err)
		}
		options.Since = since
	}
	return options, nil
}
