// Package pki is a cluster's certificate authority: the counterpart of kubeadm's certs and kubeconfig phases.
//
// In: a folder. Out: server and client certificates in memory, the key that signs service-account tokens, and
// kubeconfigs with embedded credentials. Only the authority's certificate and key (ca.crt, ca.key) and the token key
// (sa.key) are kept on disk; all else is issued anew at each start, so nothing runs out but the authority after 20 years.
//
// Start reading at authority.go (LoadOrCreate), then certificate.go and kubeconfig.go.
//
// Deliberately missing: certificate signing requests, revocation, intermediate authorities. A client certificate is good
// until it expires; to take one back, move the folder away and start the cluster anew.
package pki
