package apiserver

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	mediaJSON     = "application/json"
	mediaYAML     = "application/yaml"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"

	// acceptedMedia is the list in Kubernetes' 406 and 415 answers.
	acceptedMedia = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
)

// The transformations that a client may ask for with ";as=".
const (
	asTable        = "Table"
	asMetadata     = "PartialObjectMetadata"
	asMetadataList = "PartialObjectMetadataList"
)

// outputFormat is what a client wants to read.
type outputFormat struct {
	mediaType string
	as        string // "", or one of the as constants
	pretty    bool   // JSON with indentation
}

// metadataOnly reports whether objects are reduced to their metadata.
func (f outputFormat) metadataOnly() bool { return f.as == asMetadata || f.as == asMetadataList }

// negotiate picks the first of the request's Accept clauses that can be served, best q first. transformations are
// the ";as=" values that the endpoint knows; clauses with others are passed over.
func negotiate(r *http.Request, transformations []string) (outputFormat, error) {
	pretty := wantsPretty(r)
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return outputFormat{mediaType: mediaJSON, pretty: pretty}, nil
	}
	for _, clause := range acceptClauses(header) {
		mediaType := clause.mediaType
		switch mediaType {
		case "*/*", "application/*":
			mediaType = mediaJSON
		case mediaJSON, mediaYAML, mediaProtobuf:
		default:
			continue
		}
		as := clause.parameters["as"]
		if as != "" {
			group, version := clause.parameters["g"], clause.parameters["v"]
			if !slices.Contains(transformations, as) || group != "meta.k8s.io" || version != "v1" {
				continue
			}
			if as == asTable && mediaType == mediaProtobuf {
				continue
			}
		}
		return outputFormat{mediaType: mediaType, as: as, pretty: pretty}, nil
	}
	return outputFormat{}, notAcceptableError(acceptedMedia)
}

type acceptClause struct {
	mediaType  string
	parameters map[string]string
	quality    float64
}

// acceptClauses are the clauses of an Accept header, most wanted first; what cannot be parsed is left out.
func acceptClauses(header string) []acceptClause {
	var clauses []acceptClause
	for part := range strings.SplitSeq(header, ",") {
		mediaType, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, ok := parameters["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil || quality <= 0 {
				continue
			}
		}
		clauses = append(clauses, acceptClause{mediaType, parameters, quality})
	}
	slices.SortStableFunc(clauses, func(a, b acceptClause) int {
		switch {
		case a.quality > b.quality:
			return -1
		case a.quality < b.quality:
			return 1
		default:
			return 0
		}
	})
	return clauses
}

// wantsPretty is Kubernetes' rule: ?pretty, or a reader that is likely a person's.
func wantsPretty(r *http.Request) bool {
	if values, ok := r.URL.Query()["pretty"]; ok && len(values) > 0 {
		pretty, err := strconv.ParseBool(values[0])
		return err == nil && pretty
	}
	agent := r.UserAgent()
	return strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
}

// requestMediaType is the media type of the request's body; JSON if the client does not say.
func requestMediaType(r *http.Request) (string, error) {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return mediaJSON, nil
	}
	mediaType, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", unsupportedMediaTypeError(acceptedMedia)
	}
	switch mediaType {
	case mediaJSON, mediaYAML, mediaProtobuf:
		return mediaType, nil
	default:
		return "", unsupportedMediaTypeError(acceptedMedia)
	}
}
