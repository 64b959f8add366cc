package images

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// ErrInvalidName is returned where a reference cannot be parsed.
type ErrInvalidName struct {
	Reference string
	Err       error
}

func (e *ErrInvalidName) Error() string {
	return fmt.Sprintf("couldn't parse image name %q: %v", e.Reference, e.Err)
}

func (e *ErrInvalidName) Unwrap() error { return e.Err }

// parse reads a reference as Docker and Kubernetes do: docker.io/library and the tag latest are understood.
func parse(reference string) (name.Reference, error) {
	parsed, err := name.ParseReference(reference)
	if err != nil {
		return nil, &ErrInvalidName{reference, err}
	}
	return parsed, nil
}

// Normalize spells a reference out: "busybox" is "docker.io/library/busybox:latest".
func Normalize(reference string) (string, error) {
	parsed, err := parse(reference)
	if err != nil {
		return "", err
	}
	return spell(parsed.Name()), nil
}

// spell gives Docker Hub the name that users know.
func spell(full string) string {
	if rest, hub := strings.CutPrefix(full, name.DefaultRegistry+"/"); hub {
		return "docker.io/" + rest
	}
	return full
}

// nameFile is the file that a normalized name is kept in.
func nameFile(normalized string) string { return url.QueryEscape(normalized) }

// fileName is the inverse of nameFile.
func fileName(file string) (string, error) { return url.QueryUnescape(file) }
