// Package images is the machine's store of container images: what containerd's content store and snapshotter are to a kubelet.
//
// In: image archives (OCI layouts and `docker save`'s), registries, a single file. Out: an Image's configuration and the
// directories of its unpacked layers, ready to be an overlay's lower directories.
//
//	names/NAME          the manifest's digest that a reference stands for
//	blobs/sha256/HEX    manifests and configurations
//	layers/HEX/         one unpacked layer, named by its diff ID, shared by all images that have it
//
// Start reading at Store, then unpackLayer.
//
// The store is shared by all agents of the machine and by the `kubelite image` command: every file appears by a rename, an
// add holds a shared lock and a removal an exclusive one (lock).
//
// Caveats: layer archives are not kept once unpacked, so an image cannot be exported again. Layers in use by a container stay
// on the disk when their image is removed, until nothing refers to them.
package images
