// Package environment computes what a container's first process gets: its argv and its environment variables.
//
// Counterpart in Kubernetes: the kubelet's makeEnvironmentVariables and its envvars and expansion packages.
//
//	Pod, container, Services, ConfigMaps, Secrets → Variables → $(NAME) expanded → []string "NAME=value"
//	image's ENTRYPOINT and CMD, container's command and args → Arguments → argv
//
// Everything is pure but for Sources, through which ConfigMaps and Secrets are read. Start with variables.go.
//
// Deliberately missing: fileKeyRef.
package environment
