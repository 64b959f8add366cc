// Package serviceaccount gives every namespace what its Pods need to talk to the API server: the ServiceAccount "default"
// and the ConfigMap "kube-root-ca.crt" with the certificate authority of the API server.
//
// Its Kubernetes counterparts are pkg/controller/serviceaccount (ServiceAccountsController) and
// pkg/controller/certificates/rootcacertpublisher. In: Namespaces from the shared informers, and just these two objects of
// each namespace. Out: the objects, made again when deleted, and the ConfigMap put right when edited.
//
// Deliberately missing: Secrets with long-lived tokens; Pods get bound tokens.
package serviceaccount
