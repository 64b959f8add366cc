// Package cli is the kubelite command: one file per command of its own, and kubectl's verbs beside them.
//
// The commands of its own manage the cluster (up, down, status, node, laptop, image, kubeconfig) or are its processes
// (server, agent, dns). Every kubectl verb is k8s.io/kubectl's own command, on this machine's cluster by default; no command of
// kubelite's own takes a verb's name.
//
// Start reading at Main. Package cluster is what `up`, `down` and `status` do; package lab is the network they do it in.
//
// Caveats: the server, agent and dns processes run without kubectl's command tree, so that they start faster and stay smaller.
package cli
