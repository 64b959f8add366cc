package apiserver

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5/middleware"
)

// recoverPanics answers a panic with 500 and logs it, so that one bad request ends nothing else.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			problem := recover()
			if problem == nil {
				return
			}
			if problem == http.ErrAbortHandler {
				panic(problem)
			}
			slog.Error("panic while serving", "method", r.Method, "path", r.URL.Path, "panic", problem, "stack", string(debug.Stack()))
			writeError(w, r, fmt.Errorf("this request caused apiserver to panic. Look in the logs for details"))
		}()
		next.ServeHTTP(w, r)
	})
}

// logRequests writes a line for each request if the level is debug.
func logRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slog.Default().Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(w, r)
			return
		}
		begun := time.Now()
		wrapped := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(wrapped, r)
		slog.Debug("request", "method", r.Method, "uri", r.RequestURI, "code", wrapped.Status(), "took", time.Since(begun), "agent", r.UserAgent())
	})
}
