package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ask returns the page that the site answers with.
func ask(t *testing.T, s *site, method string) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	s.handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, "/", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("%s /: status %d", method, recorder.Code)
	}
	return recorder.Body.String()
}

func TestPage(t *testing.T) {
	first, second := ask(t, newSite(defaultAPI, "v1"), http.MethodGet), ask(t, newSite(defaultAPI, "v2"), http.MethodGet)
	for _, text := range []string{first, second} {
		if !strings.Contains(text, ">Go!</button>") || !strings.Contains(text, `method="post"`) {
			t.Errorf("the page has no button that posts:\n%s", text)
		}
		if strings.Contains(text, "Using API at") {
			t.Error("the page names the API before the button is pressed")
		}
	}
	if strings.Contains(first, "Generator v2</title>") || !strings.Contains(second, "Generator v2</title>") || !strings.Contains(second, `class="v2"`) {
		t.Error("the versions cannot be told apart")
	}
}

func TestPlay(t *testing.T) {
	cases := []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"a number", 200, "42", "Here it is: 42<"},
		{"a number with a line break", 200, "7\n", "Here it is: 7<"},
		{"zero", 200, "0", "Here it is: 0<"},
		{"the API is unhealthy", 500, `{"message":"Unhealthy!"}`, "RNG service unavailable!"},
		{"no number", 200, "<html>", "RNG service unavailable!"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				if _, err := w.Write([]byte(c.body)); err != nil {
					t.Error(err)
				}
			}))
			defer api.Close()
			text := ask(t, newSite(api.URL+"/rng", "v1"), http.MethodPost)
			if !strings.Contains(text, c.want) || !strings.Contains(text, "(Using API at: "+api.URL+"/rng)") {
				t.Errorf("want %q and the API's address in:\n%s", c.want, text)
			}
		})
	}
}

func TestPlayWithoutAPI(t *testing.T) {
	api := httptest.NewServer(http.NotFoundHandler())
	api.Close() // nobody listens there any more
	text := ask(t, newSite(api.URL, "v2"), http.MethodPost)
	if !strings.Contains(text, "RNG service unavailable!") || !strings.Contains(text, "(Using API at: "+api.URL+")") {
		t.Errorf("the page does not say that the API is unavailable:\n%s", text)
	}
}

func TestRunRefusesBadVersion(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:0", "v3"); err == nil || !strings.Contains(err.Error(), `"v3"`) {
		t.Errorf("got %v, want it to name the version", err)
	}
}
