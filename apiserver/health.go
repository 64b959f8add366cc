package apiserver

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/go-chi/chi/v5"
	kubelite "github.com/kubelite/kubelite/internal/version"
	"k8s.io/apimachinery/pkg/version"
)

// routePaths serves what is no resource.
func (s *Server) routePaths(router chi.Router) {
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		router.Get(path, s.servePath(s.health))
		router.Get(path+"/ping", s.servePath(s.health))
	}
	router.Get("/version", s.servePath(serveVersion))
	router.Get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", s.servePath(serveNoDefinitions))
	s.routeDiscovery(router)
	s.routeOpenAPI(router)
}

// serveNoDefinitions lists the custom resource definitions: none. The group is not discovered; kubectl asks for the list all the
// same before it says `no matches for kind "Srevice" in version "v1"`.
func serveNoDefinitions(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinitionList","metadata":{"resourceVersion":"1"},"items":[]}`)
}

// health answers ok: the listener is opened only when the store has been loaded, and closed before the store is.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	select {
	case <-s.stopping:
		if name == "readyz" {
			http.Error(w, "[-]shutdown failed: process is shutting down", http.StatusInternalServerError)
			return
		}
	default:
	}
	text := "ok"
	if _, verbose := r.URL.Query()["verbose"]; verbose {
		text = fmt.Sprintf("[+]ping ok\n[+]store ok\n%s check passed\n", name)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	writeBody(w, r, http.StatusOK, "text/plain; charset=utf-8", []byte(text))
}

func serveVersion(w http.ResponseWriter, r *http.Request) {
	major, minor, _ := strings.Cut(strings.TrimPrefix(kubelite.Kubernetes, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	writeJSON(w, r, version.Info{
		Major:        major,
		Minor:        minor,
		GitVersion:   kubelite.Git,
		GitTreeState: "clean",
		GoVersion:    runtime.Version(),
		Compiler:     runtime.Compiler,
		Platform:     runtime.GOOS + "/" + runtime.GOARCH,
	})
}
