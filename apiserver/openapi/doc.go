// Package openapi describes the served kinds in OpenAPI 3 and 2: the counterpart of kube-openapi's generator and builders.
//
// In: the kinds' Go types. Out: the documents that `kubectl explain`, `kubectl apply` and `kubectl edit` read. Nothing is
// generated beforehand: structure comes from the types by reflection (schema.go), descriptions from their SwaggerDoc methods,
// names from their OpenAPIModelName methods, merge rules from their patchStrategy tags.
//
// Documents are built when first asked for, and kept.
//
// Start reading at documents.go, then schema.go.
//
// Caveats: what Kubernetes keeps only in comments of its sources cannot be seen by reflection and is missing: enumerations,
// atomic lists and maps. Lists that merge by a key have x-kubernetes-list-type by their patch tags. Fields without omitempty
// are required.
// Deliberately missing: the protobuf form of OpenAPI 3.
package openapi
