package apiserver

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/kubelite/kubelite/apiserver/auth"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// handler serves one call; its error is answered as a Status.
type handler func(*call) error

// subresource is what is served below an object: its name, the kind of its body, and a handler for each method.
type subresource struct {
	name    string
	kind    schema.GroupVersionKind
	methods map[string]handler
}

// subresources are those of the kind.
func (res *resource) subresources() []subresource {
	var subs []subresource
	own := res.GroupVersionKind
	if res.Status != nil {
		subs = append(subs, subresource{"status", own, map[string]handler{
			http.MethodGet: (*call).get, http.MethodPut: (*call).updateStatus, http.MethodPatch: (*call).patchStatus,
		}})
	}
	if res.Finalize != nil {
		subs = append(subs, subresource{"finalize", own, map[string]handler{http.MethodPut: (*call).finalize}})
	}
	if res.Scale != nil {
		subs = append(subs, subresource{"scale", autoscalingv1.SchemeGroupVersion.WithKind("Scale"), map[string]handler{
			http.MethodGet: (*call).getScale, http.MethodPut: (*call).updateScale, http.MethodPatch: (*call).patchScale,
		}})
	}
	switch res.GroupResource() {
	case corev1.Resource("pods"):
		subs = append(subs, podSubresources()...)
	case corev1.Resource("serviceaccounts"):
		subs = append(subs, subresource{"token", authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"), map[string]handler{
			http.MethodPost: (*call).createToken,
		}})
	}
	return subs
}

func podSubresources() []subresource {
	core := corev1.SchemeGroupVersion
	connect := func(path string) map[string]handler {
		serve := func(c *call) error { return c.connect(path) }
		return map[string]handler{http.MethodGet: serve, http.MethodPost: serve}
	}
	return []subresource{
		{"attach", core.WithKind("PodAttachOptions"), connect("attach")},
		{"binding", core.WithKind("Binding"), map[string]handler{http.MethodPost: (*call).bind}},
		{"eviction", policyv1.SchemeGroupVersion.WithKind("Eviction"), map[string]handler{http.MethodPost: (*call).evict}},
		{"exec", core.WithKind("PodExecOptions"), connect("exec")},
		{"log", core.WithKind("Pod"), map[string]handler{http.MethodGet: (*call).log}},
		{"portforward", core.WithKind("PodPortForwardOptions"), connect("portForward")},
	}
}

// routes puts all resources, discovery, health and OpenAPI under their paths.
func (s *Server) routes() http.Handler {
	router := chi.NewRouter()
	router.Use(s.recoverPanics, logRequests, s.authenticator.Middleware(writeError))
	router.NotFound(func(w http.ResponseWriter, r *http.Request) { writeNotFound(w) })
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, "", schema.GroupResource{}, "", "", 0, false))
	})
	s.routePaths(router)
	s.routeSelfReviews(router)
	for _, res := range s.resources {
		s.routeResource(router, res)
	}
	return router
}

// writeNotFound answers as Kubernetes does for a path that nothing serves.
func writeNotFound(w http.ResponseWriter) { http.Error(w, "404 page not found", http.StatusNotFound) }

func (s *Server) routeResource(router chi.Router, res *resource) {
	base := groupVersionPath(res.GroupVersionKind.GroupVersion())
	collection := base + "/" + res.Resource
	if res.Namespaced {
		// over all namespaces there is only reading
		router.Method(http.MethodGet, collection, s.serve(res, "", (*call).list))
		router.Method(http.MethodGet, base+"/watch/"+res.Resource, s.serve(res, "", (*call).oldWatch))
		router.Method(http.MethodGet, base+"/watch/namespaces/{namespace}/"+res.Resource, s.serve(res, "", (*call).oldWatch))
		collection = base + "/namespaces/{namespace}/" + res.Resource
	} else {
		router.Method(http.MethodGet, base+"/watch/"+res.Resource, s.serve(res, "", (*call).oldWatch))
	}
	for method, serve := range map[string]handler{
		http.MethodGet: (*call).list, http.MethodPost: (*call).create, http.MethodDelete: (*call).deleteCollection,
	} {
		router.Method(method, collection, s.serve(res, "", serve))
	}
	object := collection + "/{name}"
	for method, serve := range map[string]handler{
		http.MethodGet: (*call).get, http.MethodPut: (*call).update,
		http.MethodPatch: (*call).patch, http.MethodDelete: (*call).delete,
	} {
		router.Method(method, object, s.serve(res, "", serve))
	}
	for _, sub := range res.subresources() {
		for method, serve := range sub.methods {
			router.Method(method, object+"/"+sub.name, s.serve(res, sub.name, serve))
		}
	}
}

// oldWatch serves the deprecated /watch/ paths.
func (c *call) oldWatch() error {
	query := c.r.URL.Query()
	query.Set("watch", "true")
	c.r.URL.RawQuery = query.Encode()
	return c.list()
}

// groupVersionPath is /api/v1 or /apis/GROUP/VERSION.
func groupVersionPath(version schema.GroupVersion) string {
	if version.Group == "" {
		return "/api/" + version.Version
	}
	return "/apis/" + version.Group + "/" + version.Version
}

// serve authorizes the call and hands it to the handler.
func (s *Server) serve(res *resource, subresource string, serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Server: s, w: w, r: r, resource: res, namespace: pathParameter(r, "namespace"), name: pathParameter(r, "name")}
		err := c.authorize(auth.Attributes{
			Verb:        c.verb(),
			Group:       res.GroupVersionKind.Group,
			Resource:    res.Resource,
			Subresource: subresource,
			Namespace:   c.namespace,
			Name:        c.name,
		})
		if err == nil {
			if res.Deprecated != "" {
				c.warn(res.Deprecated)
			}
			err = serve(c)
		}
		if err != nil {
			writeError(w, r, err)
		}
	})
}

func pathParameter(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if !strings.Contains(value, "%") {
		return value
	}
	plain, err := url.PathUnescape(value)
	if err != nil {
		return value
	}
	return plain
}

func (c *call) authorize(attributes auth.Attributes) error {
	user := auth.UserFrom(c.r.Context())
	if allowed, reason := auth.Authorize(user, attributes, c.Server); !allowed {
		return auth.Forbidden(user, attributes, reason)
	}
	return nil
}

// verb is what authorization calls the request.
func (c *call) verb() string {
	switch c.r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if c.name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	if c.name != "" {
		return "get"
	}
	if watching := c.r.URL.Query().Get("watch"); watching == "true" || watching == "1" {
		return "watch"
	}
	return "list"
}

// servePath authorizes a request for no resource.
func (s *Server) servePath(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{Server: s, w: w, r: r}
		if err := c.authorize(auth.Attributes{Verb: strings.ToLower(r.Method), Path: r.URL.Path}); err != nil {
			writeError(w, r, err)
			return
		}
		serve(w, r)
	}
}
