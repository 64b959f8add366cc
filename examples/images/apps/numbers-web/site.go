package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// defaultAPI is where the textbook's site looks for numbers, without the environment variable RngApi__Url.
const defaultAPI = "http://numbers-api/sixeyed/kiamol/master/ch03/numbers/rng"

// callTimeout is how long the site waits for the API: shorter than a visitor's patience.
const callTimeout = 3 * time.Second

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// view is what the page shows.
type view struct {
	Version string // v1 or v2
	API     string // its address; empty until the button is pressed
	Failed  bool
	Number  int
}

// site is the web site. It may be used concurrently.
type site struct {
	api     string
	version string
	client  *http.Client
}

func newSite(api, version string) *site {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// Each call is a new connection, so that a Service may send each one to another Pod, and none to one that is gone.
	transport.DisableKeepAlives = true
	transport.Proxy = nil
	return &site{api: api, version: version, client: &http.Client{Transport: transport, Timeout: callTimeout}}
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.show(w, view{Version: s.version}) })
	mux.HandleFunc("POST /{$}", s.play)
	return mux
}

// play answers a press of the button.
func (s *site) play(w http.ResponseWriter, r *http.Request) {
	shown := view{Version: s.version, API: s.api}
	number, err := s.call(r.Context())
	if err != nil {
		slog.Error("RNG service unavailable", "api", s.api, "error", err)
		shown.Failed = true
	} else {
		slog.Info("RNG service answered", "api", s.api, "number", number)
		shown.Number = number
	}
	s.show(w, shown)
}

// call asks the API for a number.
func (s *site) call(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.api, nil)
	if err != nil {
		return 0, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the API answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return 0, err
	}
	var number int
	if err := json.Unmarshal(body, &number); err != nil {
		return 0, fmt.Errorf("the API answered no number, but %q", body)
	}
	return number, nil
}

func (s *site) show(w http.ResponseWriter, shown view) {
	var text bytes.Buffer
	if err := page.Execute(&text, shown); err != nil {
		slog.Error("make page", "error", err)
		http.Error(w, "the page could not be made: see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	// A browser that is gone does not read the page: nothing to do about it.
	_, _ = w.Write(text.Bytes())
}
