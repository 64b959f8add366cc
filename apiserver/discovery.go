package apiserver

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// discovered is everything that discovery answers, made once from the table of kinds and the reviews.
type discovered struct {
	versions   []schema.GroupVersion // core first, then as in the table
	resources  map[schema.GroupVersion][]metav1.APIResource
	aggregated map[string]*apidiscoveryv2.APIGroupDiscoveryList // by "api" and "apis"
}

var (
	resourceVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	methodVerbs   = map[string]string{
		http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch",
	}
)

func discover(resources []*resource) *discovered {
	d := &discovered{resources: map[schema.GroupVersion][]metav1.APIResource{}}
	for _, res := range resources {
		version := res.GroupVersionKind.GroupVersion()
		if !slices.Contains(d.versions, version) {
			d.versions = append(d.versions, version)
		}
		d.resources[version] = append(d.resources[version], res.discover()...)
	}
	for _, review := range selfReviews() {
		version := review.kind.GroupVersion()
		if !slices.Contains(d.versions, version) {
			d.versions = append(d.versions, version)
		}
		d.resources[version] = append(d.resources[version], review.discover())
	}
	for _, list := range d.resources {
		slices.SortFunc(list, func(a, b metav1.APIResource) int { return strings.Compare(a.Name, b.Name) })
	}
	d.aggregated = map[string]*apidiscoveryv2.APIGroupDiscoveryList{"api": d.aggregate(resources, true), "apis": d.aggregate(resources, false)}
	return d
}

// discover is the resource and its subresources as discovery lists them.
func (res *resource) discover() []metav1.APIResource {
	list := []metav1.APIResource{{
		Name:               res.Resource,
		SingularName:       res.Singular,
		Namespaced:         res.Namespaced,
		Kind:               res.GroupVersionKind.Kind,
		Verbs:              resourceVerbs,
		ShortNames:         res.ShortNames,
		Categories:         res.Categories,
		StorageVersionHash: storageVersionHash(res.stored.GroupVersionKind),
	}}
	for _, sub := range res.subresources() {
		described := metav1.APIResource{
			Name:       res.Resource + "/" + sub.name,
			Namespaced: res.Namespaced,
			Kind:       sub.kind.Kind,
			Verbs:      sub.verbs(),
		}
		if sub.kind.GroupVersion() != res.GroupVersionKind.GroupVersion() {
			described.Group, described.Version = sub.kind.Group, sub.kind.Version
		}
		list = append(list, described)
	}
	return list
}

func (sub subresource) verbs() []string {
	var verbs []string
	for method := range sub.methods {
		verbs = append(verbs, methodVerbs[method])
	}
	slices.Sort(verbs)
	return verbs
}

func storageVersionHash(kind schema.GroupVersionKind) string {
	sum := sha256.Sum256([]byte(kind.Group + "/" + kind.Version + "/" + kind.Kind))
	return hex.EncodeToString(sum[:8])
}

// aggregate is the aggregated discovery (KEP-3352) of the core group or of all others.
func (d *discovered) aggregate(resources []*resource, core bool) *apidiscoveryv2.APIGroupDiscoveryList {
	list := &apidiscoveryv2.APIGroupDiscoveryList{Items: []apidiscoveryv2.APIGroupDiscovery{}}
	list.SetGroupVersionKind(apidiscoveryv2.SchemeGroupVersion.WithKind("APIGroupDiscoveryList"))
	for _, version := range d.versions {
		if (version.Group == "") != core {
			continue
		}
		described := apidiscoveryv2.APIVersionDiscovery{Version: version.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
		for _, res := range resources {
			if res.GroupVersionKind.GroupVersion() == version {
				described.Resources = append(described.Resources, res.discoverAggregated())
			}
		}
		for _, review := range selfReviews() {
			if review.kind.GroupVersion() == version {
				described.Resources = append(described.Resources, review.discoverAggregated())
			}
		}
		slices.SortFunc(described.Resources, func(a, b apidiscoveryv2.APIResourceDiscovery) int { return strings.Compare(a.Resource, b.Resource) })
		list.Items = append(list.Items, apidiscoveryv2.APIGroupDiscovery{
			ObjectMeta: metav1.ObjectMeta{Name: version.Group},
			Versions:   []apidiscoveryv2.APIVersionDiscovery{described},
		})
	}
	return list
}

func (res *resource) discoverAggregated() apidiscoveryv2.APIResourceDiscovery {
	scope := apidiscoveryv2.ScopeCluster
	if res.Namespaced {
		scope = apidiscoveryv2.ScopeNamespace
	}
	described := apidiscoveryv2.APIResourceDiscovery{
		Resource:         res.Resource,
		ResponseKind:     responseKind(res.GroupVersionKind),
		Scope:            scope,
		SingularResource: res.Singular,
		Verbs:            resourceVerbs,
		ShortNames:       res.ShortNames,
		Categories:       res.Categories,
	}
	for _, sub := range res.subresources() {
		described.Subresources = append(described.Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource:  sub.name,
			ResponseKind: responseKind(sub.kind),
			Verbs:        sub.verbs(),
		})
	}
	return described
}

func (review selfReview) discoverAggregated() apidiscoveryv2.APIResourceDiscovery {
	return apidiscoveryv2.APIResourceDiscovery{
		Resource:         review.plural,
		ResponseKind:     responseKind(review.kind),
		Scope:            apidiscoveryv2.ScopeCluster,
		SingularResource: review.singular,
		Verbs:            []string{"create"},
	}
}

func responseKind(kind schema.GroupVersionKind) *metav1.GroupVersionKind {
	return &metav1.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind}
}

// routeDiscovery serves the lists of groups, versions and resources.
func (s *Server) routeDiscovery(router chi.Router) {
	legacy := &metav1.APIVersions{
		TypeMeta:                   metav1.TypeMeta{Kind: "APIVersions"},
		Versions:                   []string{"v1"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: s.config.AdvertiseAddress.String()}},
	}
	groups := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, version := range s.discovered.versions {
		list := &metav1.APIResourceList{
			TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
			GroupVersion: version.String(),
			APIResources: s.discovered.resources[version],
		}
		router.Get(groupVersionPath(version), s.servePath(func(w http.ResponseWriter, r *http.Request) { writeDiscovery(w, r, list) }))
		if version.Group == "" {
			continue
		}
		described := metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version}
		group := metav1.APIGroup{Name: version.Group, Versions: []metav1.GroupVersionForDiscovery{described}, PreferredVersion: described}
		groups.Groups = append(groups.Groups, group)
		group.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
		router.Get("/apis/"+version.Group, s.servePath(func(w http.ResponseWriter, r *http.Request) { writeDiscovery(w, r, &group) }))
	}
	router.Get("/api", s.servePath(s.serveRoot("api", legacy)))
	router.Get("/apis", s.servePath(s.serveRoot("apis", groups)))
}

// writeDiscovery answers in the asked-for form.
func writeDiscovery(w http.ResponseWriter, r *http.Request, obj runtime.Object) {
	format, err := negotiate(r, nil)
	if err != nil {
		writeError(w, r, err)
		return
	}
	writeObject(w, r, http.StatusOK, format, obj)
}

// serveRoot answers /api and /apis: aggregated if the client asks for that first, with an ETag.
func (s *Server) serveRoot(root string, legacy runtime.Object) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		format, ok := wantsAggregated(r)
		w.Header().Add("Vary", "Accept")
		if !ok {
			writeDiscovery(w, r, legacy)
			return
		}
		body, err := encodeObject(s.discovered.aggregated[root], format)
		if err != nil {
			writeError(w, r, err)
			return
		}
		sum := sha256.Sum256(body)
		tag := `"` + strings.ToUpper(hex.EncodeToString(sum[:])) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		writeBody(w, r, http.StatusOK, format.mediaType+";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", body)
	}
}

// wantsAggregated reports whether the client's first acceptable form is aggregated discovery, and in which encoding.
func wantsAggregated(r *http.Request) (outputFormat, bool) {
	for _, clause := range acceptClauses(strings.Join(r.Header.Values("Accept"), ",")) {
		switch clause.mediaType {
		case mediaJSON, mediaProtobuf:
		default:
			return outputFormat{}, false
		}
		switch {
		case clause.parameters["as"] == "":
			return outputFormat{}, false
		case clause.parameters["as"] == "APIGroupDiscoveryList" && clause.parameters["g"] == "apidiscovery.k8s.io" && clause.parameters["v"] == "v2":
			return outputFormat{mediaType: clause.mediaType}, true
		}
	}
	return outputFormat{}, false
}
