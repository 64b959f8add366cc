// Command bundle makes the offline bundle: one file with the images of the textbooks' exercises, under the textbooks' names.
//
//	go run ./examples/images/bundle -o bin/images.tar
//
// In: Debian's packages (busybox, curl, jq, bind9-dnsutils, nginx), fetched with apt-get from the mirrors that this machine is
// set up for, and our own small programs in ../apps. Out: an OCI layout in a tar file, each image named by the annotation
// io.containerd.image.name; `kubelite image load`, `ctr image import` and skopeo read it.
//
//	packages (apt.go) ─► their files (deb.go) ─► the chosen programs and the libraries they need (libraries.go) ─┐
//	go build (apps.go) ──────────────────────────────────────────────────────────────────────────────────────────┼─► layers
//	rootfs/ (our own configuration) ─────────────────────────────────────────────────────────────────────────────┘   (layers.go)
//	─► images (images.go) ─► bundle (layout.go)
//
// Start reading at images.go, the list of what is in each image.
//
// The same packages and sources give the same bundle, byte for byte. Nothing is installed and nothing outside the folder of the
// output is written: apt-get keeps its lists and packages in packages/ there. No root is needed. Of each package only
// the chosen programs, the libraries that they are linked with, and the package's licence (/usr/share/doc/*/copyright) are
// taken; install scripts are not run.
//
// Caveats: the images are for this machine's architecture only. Packages that are kept in packages/ are used as long as the
// mirrors still offer them by the kept lists; delete the folder to get Debian's latest.
package main
