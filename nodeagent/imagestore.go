package nodeagent

import (
	"context"
	"errors"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/images"
	"github.com/kubelite/kubelite/nodeagent/pods"
)

// standInAnnotation of an image says what it stands in for.
const standInAnnotation = "kubelite.dev/stand-in"

// imageStore makes an images.Store what the Pod loop asks for.
type imageStore struct {
	store   *images.Store
	options images.PullOptions
}

func (s imageStore) Get(reference string) (*pods.Image, error) {
	image, err := s.store.Get(reference)
	if errors.Is(err, images.ErrNotFound) {
		return nil, pods.ErrImageNotFound
	}
	return describe(image, err)
}

func (s imageStore) Pull(ctx context.Context, reference string, secrets []*v1.Secret) (*pods.Image, error) {
	credentials, err := readPullSecrets(secrets)
	if err != nil {
		return nil, err
	}
	options := s.options
	options.Keychain = credentials
	return describe(s.store.Pull(ctx, reference, options))
}

func describe(image *images.Image, err error) (*pods.Image, error) {
	if err != nil {
		return nil, err
	}
	config := image.Config.Config
	result := &pods.Image{
		ID: image.ID, Size: image.Size, Env: config.Env, Entrypoint: config.Entrypoint, Cmd: config.Cmd, WorkingDir: config.WorkingDir,
		User: config.User, StopSignal: config.StopSignal, LayerDirs: image.LayerDirs, StandIn: image.Annotations[standInAnnotation],
	}
	if len(image.Names) > 0 && image.Digest != "" {
		result.Reference = repository(image.Names[0]) + "@" + image.Digest
	}
	return result, nil
}

// repository is an image's name without its tag or digest.
func repository(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name
}
