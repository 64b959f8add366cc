package main

import (
	"bytes"
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	cases := []struct{ remote, logged string }{
		{"10.244.0.1:40112", "Received request from ::ffff:10.244.0.1\n"},
		{"[fd00::7]:40112", "Received request from fd00::7\n"},
	}
	for _, c := range cases {
		var log bytes.Buffer
		request := httptest.NewRequestWithContext(t.Context(), "GET", "/any/path", nil)
		request.RemoteAddr = c.remote
		recorder := httptest.NewRecorder()
		handler("kubia-4jfyf", &log).ServeHTTP(recorder, request)
		if got, want := recorder.Body.String(), "You've hit kubia-4jfyf\n"; got != want {
			t.Errorf("answer %q, want %q", got, want)
		}
		if log.String() != c.logged {
			t.Errorf("logged %q, want %q", log.String(), c.logged)
		}
	}
}
