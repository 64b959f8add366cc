package apiserver

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/kubelite/kubelite/apiserver/openapi"
	kubelite "github.com/kubelite/kubelite/internal/version"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The two names under which clients ask for OpenAPI 2 as protobuf: one is not a valid media type.
const (
	openAPIProto    = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	openAPIProtoOld = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
)

// newDocuments describes the served kinds to the OpenAPI builder.
func newDocuments(resources []*resource) *openapi.Documents {
	var described []openapi.Resource
	for _, res := range resources {
		one := openapi.Resource{
			Kind:       res.GroupVersionKind,
			Plural:     res.Resource,
			Namespaced: res.Namespaced,
			Object:     openapi.TypeOf(res.New()),
			List:       openapi.TypeOf(res.NewList()),
		}
		if res.Status != nil {
			one.Updatable = []string{"status"}
		}
		described = append(described, one)
	}
	return openapi.New(kubelite.Git, described)
}

func (s *Server) routeOpenAPI(router chi.Router) {
	router.Get("/openapi/v2", s.servePath(s.serveOpenAPIV2))
	router.Get("/openapi/v3", s.servePath(func(w http.ResponseWriter, r *http.Request) {
		document, err := s.documents.Index()
		writeDocument(w, r, document, mediaJSON, err)
	}))
	router.Get("/openapi/v3/api/{version}", s.servePath(s.serveOpenAPIV3))
	router.Get("/openapi/v3/apis/{group}/{version}", s.servePath(s.serveOpenAPIV3))
}

func (s *Server) serveOpenAPIV2(w http.ResponseWriter, r *http.Request) {
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, openAPIProto) || strings.Contains(accept, openAPIProtoOld) {
		document, err := s.documents.V2Proto()
		writeDocument(w, r, document, openAPIProto, err)
		return
	}
	document, err := s.documents.V2()
	writeDocument(w, r, document, mediaJSON, err)
}

func (s *Server) serveOpenAPIV3(w http.ResponseWriter, r *http.Request) {
	version := schema.GroupVersion{Group: pathParameter(r, "group"), Version: pathParameter(r, "version")}
	document, ok, err := s.documents.V3(version)
	if !ok {
		writeNotFound(w)
		return
	}
	if asked := r.URL.Query().Get("hash"); err == nil && asked != "" {
		if asked != document.Hash {
			location := *r.URL
			location.RawQuery = "hash=" + document.Hash
			http.Redirect(w, r, location.String(), http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	writeDocument(w, r, document, mediaJSON, err)
}

// writeDocument answers with a document, or with 304 if the client has it.
func writeDocument(w http.ResponseWriter, r *http.Request, document openapi.Document, mediaType string, err error) {
	if err != nil {
		writeError(w, r, err)
		return
	}
	tag := `"` + document.Hash + `"`
	w.Header().Set("ETag", tag)
	w.Header().Add("Vary", "Accept")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeBody(w, r, http.StatusOK, mediaType, document.Body)
}
