// Package apiserver serves the Kubernetes API: the counterpart of kube-apiserver. Stock kubectl and client-go are its
// clients and find, within the kinds that registry lists, nothing to tell it from Kubernetes.
//
// In: HTTPS requests. Out: objects as JSON, YAML, protobuf, tables or bare metadata, and watch streams.
//
// A write goes this way:
//
//	request ─► auth ─► decode ─► defaults ─► begin ─► prepare ─► validate ─► admit ─► store (on disk) ─► answer
//	         (middleware) (decode.go) └───────────── registry.Kind's hooks ─────────────┘  └─► watchers
//
// Reads and watches are served from the store's memory; each version of an object is encoded once for each media type
// (encode.go), a list is put together from those bytes, and a watch event is a frame around them.
//
// Start reading at run.go (Config, New, Run), then routes.go (which path leads to which handler), then a verb:
// create.go; update.go, whose change is what update, patch, /status and /scale have in common; watch.go. What Services need kept
// right is in service_cidr.go and address_repair.go. The table of kinds is
// in registry, storage in store, who may do what in auth, OpenAPI documents in openapi.
//
// Deliberately missing: admission plugins and webhooks other than the kinds' own hooks, API priority and fairness,
// aggregation, custom resources, CBOR, WebSocket watches, several versions of one kind (but for Events), the pod and service
// proxy verbs.
//
// Caveats: managedFields begin with an object's first server-side apply; what was written before belongs to
// "kubectl-client-side-apply", as far as its annotation says, and else to "before-first-apply". An Eviction is a deletion, since there
// are no PodDisruptionBudgets.
package apiserver
