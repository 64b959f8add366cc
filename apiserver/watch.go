package apiserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/kubelite/kubelite/apiserver/store"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// shortestWatch is the least time that a watch without timeoutSeconds is left open; the most is twice that.
	shortestWatch = 30 * time.Minute
	// bookmarkPeriod is how often an idle watch that allows bookmarks gets one.
	bookmarkPeriod = time.Minute
)

// watch streams the changes of a collection until the client goes, the time is up, or the server ends.
func (c *call) watch(options *metav1.ListOptions, selected selector) error {
	format, err := c.format(asTable, asMetadata, asMetadataList)
	if err != nil {
		return err
	}
	if format.mediaType == mediaYAML {
		return notAcceptableError("application/json, application/json;stream=watch, application/vnd.kubernetes.protobuf, application/vnd.kubernetes.protobuf;stream=watch")
	}
	stream := &watchStream{call: c, format: format, selected: selected, flusher: http.NewResponseController(c.w)}
	if format.as == asTable {
		if stream.include, err = c.includeObject(); err != nil {
			return err
		}
	}
	start, err := c.watchStart(options)
	if err != nil {
		return err
	}
	return stream.run(options, start)
}

// watchStart says where a watch begins: with the objects of a snapshot, or after a revision.
type watchStart struct {
	initial *store.Snapshot // nil: none
	marked  bool            // a bookmark tells the end of the initial events
	from    uint64          // 0: from now on
}

func (c *call) watchStart(options *metav1.ListOptions) (watchStart, error) {
	revision, err := parseRevision(options.ResourceVersion)
	if err != nil {
		return watchStart{}, err
	}
	stored := c.resource.stored.GroupResource()
	asked := options.SendInitialEvents
	switch {
	case asked != nil && *asked:
		if current := c.store.Revision(); revision > current {
			return watchStart{}, tooLargeError(revision, current)
		}
		snapshot := c.store.List(stored, c.namespace)
		return watchStart{initial: &snapshot, marked: true, from: snapshot.Revision}, nil
	case asked == nil && revision == 0:
		snapshot := c.store.List(stored, c.namespace)
		return watchStart{initial: &snapshot, from: snapshot.Revision}, nil
	default:
		return watchStart{from: revision}, nil
	}
}

// watchStream writes one watch.
type watchStream struct {
	*call
	format   outputFormat
	selected selector
	include  metav1.IncludeObjectPolicy
	flusher  *http.ResponseController
	// titled is set when a table's column definitions have been sent: they come only once.
	titled bool
}

func (s *watchStream) run(options *metav1.ListOptions, start watchStart) error {
	watcher, watchErr := s.store.Watch(s.resource.stored.GroupResource(), s.namespace, start.from)
	if watchErr != nil && !errors.Is(watchErr, store.ErrGone) && !errors.Is(watchErr, store.ErrFuture) {
		return watchErr
	}
	if watcher != nil {
		defer watcher.Stop()
	}
	s.begin()
	if watchErr != nil {
		// A revision that the store has not reached comes from a store that is no more: the client must list anew too.
		s.end(tooOldError(start.from, s.store.Revision()).ErrStatus)
		return nil
	}
	if err := s.sendInitial(start, options.AllowWatchBookmarks); err != nil {
		logWrite(s.r, err)
		return nil
	}
	logWrite(s.r, s.follow(watcher, options))
	return nil
}

// begin sends the header, so that the client knows at once that its watch stands.
func (s *watchStream) begin() {
	contentType := mediaJSON
	if s.format.mediaType == mediaProtobuf {
		contentType = mediaProtobuf + ";stream=watch"
	}
	s.w.Header().Set("Content-Type", contentType)
	s.w.Header().Set("Cache-Control", "no-cache, private")
	s.w.WriteHeader(http.StatusOK)
	logWrite(s.r, s.flusher.Flush())
}

func (s *watchStream) sendInitial(start watchStart, bookmarks bool) error {
	if start.initial == nil {
		return nil
	}
	for item := range start.initial.All() {
		if !s.selected.matches(item) {
			continue
		}
		if err := s.send(watch.Added, item); err != nil {
			return err
		}
	}
	if start.marked && bookmarks {
		if err := s.sendBookmark(start.from, map[string]string{metav1.InitialEventsAnnotationKey: "true"}); err != nil {
			return err
		}
	}
	return s.flusher.Flush()
}

// follow sends changes until something ends the watch. It flushes when no further change waits.
func (s *watchStream) follow(watcher *store.Watcher, options *metav1.ListOptions) error {
	timeout := time.NewTimer(watchTimeout(options.TimeoutSeconds))
	defer timeout.Stop()
	var bookmarks <-chan time.Time
	if options.AllowWatchBookmarks {
		ticker := time.NewTicker(bookmarkPeriod)
		defer ticker.Stop()
		bookmarks = ticker.C
	}
	for {
		select {
		case event, open := <-watcher.Events():
			if !open {
				return s.ended(watcher)
			}
			if err := s.sendChange(event); err != nil {
				return err
			}
			if len(watcher.Events()) > 0 {
				continue
			}
		case <-bookmarks:
			revision, ok := watcher.Bookmark()
			if !ok {
				continue
			}
			if err := s.sendBookmark(revision, nil); err != nil {
				return err
			}
		case <-timeout.C:
			return nil
		case <-s.r.Context().Done():
			return nil
		case <-s.stopping:
			return nil
		}
		if err := s.flusher.Flush(); err != nil {
			return err
		}
	}
}

// ended tells a client that could not keep up to list anew; a store that was closed just ends the stream.
func (s *watchStream) ended(watcher *store.Watcher) error {
	if errors.Is(watcher.Err(), store.ErrSlow) || errors.Is(watcher.Err(), store.ErrGone) {
		s.end(tooOldError(0, s.store.Revision()).ErrStatus)
	}
	return nil
}

// end sends an ERROR event.
func (s *watchStream) end(status metav1.Status) {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	err := s.sendObject(watch.Error, &status)
	if err == nil {
		err = s.flusher.Flush()
	}
	logWrite(s.r, err)
}

// sendChange sends what a change is to this client: an object that begins to match its selectors is ADDED, one that no longer
// matches is DELETED as it was before, with the revision of the change.
func (s *watchStream) sendChange(event store.Event) error {
	is := s.selected.matches(event.Item)
	was := event.Previous != nil && s.selected.matches(event.Previous)
	switch event.Type {
	case store.Added:
		if is {
			return s.send(watch.Added, event.Item)
		}
	case store.Deleted:
		if is || was {
			return s.send(watch.Deleted, event.Item)
		}
	case store.Modified:
		switch {
		case is && was:
			return s.send(watch.Modified, event.Item)
		case is:
			return s.send(watch.Added, event.Item)
		case was:
			last := event.Previous.Object.DeepCopyObject().(store.Object)
			last.SetResourceVersion(strconv.FormatUint(event.Revision, 10))
			return s.send(watch.Deleted, &store.Item{Key: event.Item.Key, Revision: event.Revision, Object: last})
		}
	}
	return nil
}

func (s *watchStream) sendBookmark(revision uint64, annotations map[string]string) error {
	obj := s.resource.stored.New()
	obj.GetObjectKind().SetGroupVersionKind(s.resource.stored.GroupVersionKind)
	obj.SetResourceVersion(strconv.FormatUint(revision, 10))
	obj.SetAnnotations(annotations)
	return s.send(watch.Bookmark, &store.Item{Revision: revision, Object: obj})
}

// send writes one event without flushing it.
func (s *watchStream) send(event watch.EventType, item *store.Item) error {
	switch {
	case s.format.as == asTable:
		table := s.resource.table([]*store.Item{item}, s.include)
		table.ResourceVersion = item.Object.GetResourceVersion()
		if s.titled {
			table.ColumnDefinitions = nil
		}
		s.titled = true
		return s.sendObject(event, table)
	case s.format.metadataOnly():
		return s.sendObject(event, metadataOf(s.resource, item.Object))
	case s.format.mediaType == mediaProtobuf:
		raw, err := s.resource.itemMessage(item)
		if err != nil {
			return fmt.Errorf("encode %s: %w", item.Key.Name, err)
		}
		return s.write(protobufWatchEvent(string(event), protobufEnvelope(s.resource.GroupVersionKind, raw)))
	default:
		raw, err := s.resource.itemJSON(item)
		if err != nil {
			return fmt.Errorf("encode %s: %w", item.Key.Name, err)
		}
		return s.write(jsonWatchEvent(string(event), raw))
	}
}

func (s *watchStream) sendObject(event watch.EventType, obj runtime.Object) error {
	body, err := encodeObject(obj, outputFormat{mediaType: s.format.mediaType})
	if err != nil {
		return err
	}
	if s.format.mediaType == mediaProtobuf {
		return s.write(protobufWatchEvent(string(event), body))
	}
	return s.write(jsonWatchEvent(string(event), body[:len(body)-1]))
}

func (s *watchStream) write(frame []byte) error {
	_, err := s.w.Write(frame)
	return err
}

// watchTimeout is how long a watch stays open.
func watchTimeout(asked *int64) time.Duration {
	if asked != nil && *asked > 0 {
		return time.Duration(*asked) * time.Second
	}
	return shortestWatch + rand.N(shortestWatch)
}
