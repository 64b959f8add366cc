// Package version holds what kubelite says of its own version and of the Kubernetes it speaks.
package version

// Kubelite is kubelite's own version, without a leading v.
const Kubelite = "0.1.0"

// Kubernetes is the Kubernetes version whose API kubelite serves.
const Kubernetes = "v1.37.2"

// Git is the version that the API server and the nodes report, in the form other distributions use.
const Git = Kubernetes + "+kubelite" + Kubelite
