// Package logs reads container logs in the CRI format, as conmon writes them: a line is TIME STREAM TAG TEXT, with TAG P for a part
// of a longer line and F for its end.
//
// Counterpart in Kubernetes: the kubelet's kuberuntime/logs.
//
//	file, Options → Copy → the text to stdout and stderr writers, following the file by inotify until the container has ended
//
// Start with copy.go. Deliberately missing: rotated files; a log is one file.
package logs
