package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, handler http.Handler, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return recorder.Code, recorder.Body.String()
}

func TestNumber(t *testing.T) {
	handler := (&api{}).handler()
	for _, path := range []string{"/rng", "/sixeyed/kiamol/master/ch03/numbers/rng"} {
		for range 200 {
			status, body := get(t, handler, path)
			var number int
			if err := json.Unmarshal([]byte(body), &number); err != nil || status != http.StatusOK || number < 0 || number > 99 {
				t.Fatalf("GET %s: %d %q, want a number from 0 to 99", path, status, body)
			}
		}
	}
	if status, _ := get(t, handler, "/"); status != http.StatusNotFound {
		t.Errorf("GET /: %d, want 404", status)
	}
}

func TestFailAfterCallCount(t *testing.T) {
	handler := (&api{failAfter: 2}).handler()
	steps := []struct {
		path   string
		status int
	}{
		{"/healthz", 200}, {"/rng", 200}, {"/healthz", 200}, {"/rng", 200}, {"/healthz", 500}, {"/rng", 500}, {"/rng", 500}, {"/healthz", 500},
	}
	for i, step := range steps {
		status, body := get(t, handler, step.path)
		if status != step.status {
			t.Errorf("step %d: GET %s: %d, want %d", i+1, step.path, status, step.status)
		}
		if status == 500 && !strings.Contains(body, `"message":"Unhealthy!"`) {
			t.Errorf("step %d: GET %s: %q says nothing of why", i+1, step.path, body)
		}
	}
}

func TestRunRefusesBadCount(t *testing.T) {
	t.Setenv("FailAfterCallCount", "soon")
	if err := run(t.Context(), "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), `"soon"`) {
		t.Errorf("got %v, want it to name the value", err)
	}
}
