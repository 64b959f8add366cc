package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kubelite/kubelite/internal/version"
	"github.com/kubelite/kubelite/nodeagent/images"
)

// OwnImage is the image that holds the kubelite binary: addons such as cluster DNS run from it.
const OwnImage = "kubelite/kubelite:" + version.Kubelite

// imagesAtHand is what prepareImages found or made. It is held in the store until done is called.
type imagesAtHand struct {
	count int
	store *images.Store
	// release lets go of the store.
	release func()
	// executable is the kubelite binary as it lies in its image's layer. The server and the agents are started from that very
	// file, so that the kernel keeps one copy of it in memory for them and for the addons' Pods.
	executable string
}

// done ends the holding, and removes what earlier binaries have left in the store.
func (i imagesAtHand) done() error {
	i.release()
	inUse, err := LayersInUse()
	if err != nil {
		return err
	}
	return i.store.Prune(inUse)
}

// prepareImages loads the bundle if this one has not been loaded yet, and makes the image of this very binary.
func (c *Cluster) prepareImages(ctx context.Context, bundle string) (atHand imagesAtHand, err error) {
	store, err := images.Open(ImagesDir())
	if err != nil {
		return imagesAtHand{}, err
	}
	release, err := store.Hold()
	if err != nil {
		return imagesAtHand{}, err
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	if bundle != "" {
		if err := loadBundle(ctx, store, bundle); err != nil {
			return imagesAtHand{}, err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return imagesAtHand{}, fmt.Errorf("find this program's file: %w", err)
	}
	own, err := store.AddBinary(ctx, OwnImage, program, "kubelite")
	if err != nil {
		return imagesAtHand{}, err
	}
	list, err := store.List()
	if err != nil {
		return imagesAtHand{}, err
	}
	return imagesAtHand{len(list), store, release, filepath.Join(own.LayerDirs[0], "kubelite")}, nil
}

// loadBundle loads an images bundle, once: a file beside the store says which one was loaded last.
func loadBundle(ctx context.Context, store *images.Store, bundle string) error {
	file, err := os.Open(bundle)
	if err != nil {
		return fmt.Errorf("load the images bundle: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("load the images bundle: %w", err)
	}
	identity := fmt.Sprintf("%s %d %d\n", bundle, info.Size(), info.ModTime().UnixNano())
	marker := filepath.Join(ImagesDir(), "bundle")
	loaded, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("load the images bundle: %w", err)
	}
	if string(loaded) == identity {
		return nil
	}
	if _, err := store.Load(ctx, file); err != nil {
		return fmt.Errorf("load the images bundle %s: %w", bundle, err)
	}
	return writeFile(marker, []byte(identity), 0o644)
}

// LayersInUse returns a function that says whether a container, or one of the clusters' own processes, runs on a layer.
func LayersInUse() (func(layerDir string) bool, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the layers in use: %w", err)
	}
	used := []string{string(mounts)}
	executables, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil, err
	}
	for _, link := range executables {
		if target, err := os.Readlink(link); err == nil { // else the process has ended
			used = append(used, target)
		}
	}
	all := strings.Join(used, "\n")
	return func(layerDir string) bool { return strings.Contains(all, filepath.Base(layerDir)) }, nil
}
