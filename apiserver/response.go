package apiserver

import (
	"compress/gzip"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// gzipThreshold is the size in bytes from which bodies are compressed for clients that accept it, as Kubernetes does.
const gzipThreshold = 128 << 10

var gzipWriters = sync.Pool{New: func() any {
	writer, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // a constant level
	}
	return writer
}}

// writeObject answers with obj, whose TypeMeta must be set.
func writeObject(w http.ResponseWriter, r *http.Request, code int, format outputFormat, obj runtime.Object) {
	body, err := encodeObject(obj, format)
	if err != nil {
		slog.Error("response not encoded", "method", r.Method, "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeBody(w, r, code, format.mediaType, body)
}

// writeBody answers with a whole body.
func writeBody(w http.ResponseWriter, r *http.Request, code int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-cache, private")
	}
	if len(body) >= gzipThreshold && acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		header.Add("Vary", "Accept-Encoding")
		w.WriteHeader(code)
		writer := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(writer)
		writer.Reset(w)
		if _, err := writer.Write(body); err == nil {
			err = writer.Close()
			logWrite(r, err)
		}
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return
	}
	_, err := w.Write(body)
	logWrite(r, err)
}

// logWrite notes a client that went away in the middle of an answer.
func logWrite(r *http.Request, err error) {
	if err != nil {
		slog.Debug("client gone", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}

func acceptsGzip(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for encoding := range strings.SplitSeq(header, ",") {
			name, _, _ := strings.Cut(encoding, ";")
			if strings.TrimSpace(name) == "gzip" {
				return true
			}
		}
	}
	return false
}

// writeJSON answers with something that is no API object.
func writeJSON(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		writeError(w, r, err)
		return
	}
	writeBody(w, r, http.StatusOK, mediaJSON, body)
}

// jsonToYAML makes the YAML of a JSON body.
func jsonToYAML(body []byte) ([]byte, error) { return yaml.JSONToYAML(body) }
