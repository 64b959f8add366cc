// Command kubia answers every request with the name of its host, which in a Pod is the Pod's: kubelite's stand-in for the image
// luksa/kubia of "Kubernetes in Action".
//
// It listens on port 8080 and logs each caller's address. SIGTERM ends it after the requests in progress.
package main
