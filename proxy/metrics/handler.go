package metrics

import (
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /metrics, /proxyMode (the mode's name, for those who wonder whether a node port is a socket) and /healthz, which
// only says that somebody answers.
func (m *Metrics) Handler(mode string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.Handle("/proxyMode", text(mode))
	mux.Handle("/healthz", text("ok"))
	return mux
}

func text(answer string) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "text/plain; charset=utf-8")
		response.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(response, answer) // a client that went away needs no answer
	})
}
