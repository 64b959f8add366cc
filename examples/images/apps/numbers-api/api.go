package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
)

// api is the number generator. It may be used concurrently.
type api struct {
	failAfter int64 // calls; 0: never
	calls     atomic.Int64
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rng", a.number)
	mux.HandleFunc("GET /sixeyed/kiamol/master/ch03/numbers/rng", a.number)
	mux.HandleFunc("GET /healthz", a.health)
	return mux
}

func (a *api) number(w http.ResponseWriter, r *http.Request) {
	call := a.calls.Add(1)
	if a.failAfter > 0 && call > a.failAfter {
		slog.Warn("unhealthy", "call", call, "FailAfterCallCount", a.failAfter)
		unhealthy(w)
		return
	}
	number := rand.IntN(100)
	slog.Info("number", "call", call, "number", number, "client", r.RemoteAddr)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, number)
}

func (a *api) health(w http.ResponseWriter, _ *http.Request) {
	if a.failAfter > 0 && a.calls.Load() >= a.failAfter {
		unhealthy(w)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "Ok")
}

func unhealthy(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	// A client that is gone does not read the message: nothing to do about it.
	_ = json.NewEncoder(w).Encode(map[string]string{"message": "Unhealthy!"})
}
