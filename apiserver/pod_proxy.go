package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// longestAgentError is how many bytes of an agent's error are passed on.
const longestAgentError = 50000

// log answers GET of a Pod's /log: the agent's answer, flushed as it comes.
func (c *call) log() error {
	pod, err := c.pod()
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	container, err := chooseContainer(pod, query.Get("container"))
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	query.Del("container")
	location, err := c.agentURL(pod, query, "containerLogs", pod.Namespace, pod.Name, container)
	if err != nil {
		return err
	}
	ctx, cancel := c.untilStopping()
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return err
	}
	response, err := c.agents.Do(request)
	if err != nil {
		return agentUnreachable(location, err)
	}
	defer response.Body.Close()
	if err := c.agentError(response); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/plain")
	c.w.Header().Set("Cache-Control", "no-cache, private")
	c.w.WriteHeader(http.StatusOK)
	logWrite(c.r, copyFlushed(c.w, response.Body))
	return nil
}

// untilStopping is the request's context, ended also when the server stops: a followed log would hold it up.
func (c *call) untilStopping() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.r.Context())
	go func() { // ends with ctx
		select {
		case <-c.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// copyFlushed copies until the end of from, and flushes after every read.
func copyFlushed(to http.ResponseWriter, from io.Reader) error {
	flusher := http.NewResponseController(to)
	if err := flusher.Flush(); err != nil {
		return err
	}
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			if err := flusher.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// connect answers exec, attach and portforward: the client's upgraded connection is joined to one to the agent.
func (c *call) connect(path string) error {
	pod, err := c.pod()
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	segments := []string{path, pod.Namespace, pod.Name}
	query := c.r.URL.Query()
	agentQuery := url.Values{}
	if path == "portForward" {
		agentQuery["port"] = query["ports"]
	} else {
		container, err := chooseContainer(pod, query.Get("container"))
		if err != nil {
			return err
		}
		segments = append(segments, container)
		agentQuery = streamQuery(query)
	}
	location, err := c.agentURL(pod, agentQuery, segments...)
	if err != nil {
		return err
	}
	return c.joinAgent(location)
}

// streamQuery renames the options of exec and attach as agents know them.
func streamQuery(query url.Values) url.Values {
	renamed := url.Values{}
	for api, agent := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
		if value := query.Get(api); value == "true" || value == "1" {
			renamed.Set(agent, "1")
		}
	}
	if command := query["command"]; len(command) > 0 {
		renamed["command"] = command
	}
	return renamed
}

// pod is the call's Pod.
func (c *call) pod() (*corev1.Pod, error) {
	item, err := c.store.Get(c.key())
	if err != nil {
		return nil, storeError(c.resource.Kind, c.name, err)
	}
	pod, ok := item.Object.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("pod %s is a %T", c.name, item.Object)
	}
	return pod, nil
}

// chooseContainer is the asked-for container, or the only one. The errors are Kubernetes'.
func chooseContainer(pod *corev1.Pod, asked string) (string, error) {
	names := make([]string, 0, len(pod.Spec.Containers))
	for _, container := range pod.Spec.Containers {
		names = append(names, container.Name)
	}
	var initNames []string
	for _, container := range pod.Spec.InitContainers {
		initNames = append(initNames, container.Name)
	}
	if asked != "" {
		ephemeral := slices.ContainsFunc(pod.Spec.EphemeralContainers, func(e corev1.EphemeralContainer) bool { return e.Name == asked })
		if !ephemeral && !slices.Contains(names, asked) && !slices.Contains(initNames, asked) {
			return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", asked, pod.Name))
		}
		return asked, nil
	}
	switch len(names) {
	case 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
	case 1:
		return names[0], nil
	}
	words := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, names)
	if len(initNames) > 0 {
		words += fmt.Sprintf(" or one of the init containers: %s", initNames)
	}
	return "", apierrors.NewBadRequest(words)
}

// agentError passes an agent's refusal on as an API status.
func (c *call) agentError(response *http.Response) error {
	if response.StatusCode >= http.StatusOK && response.StatusCode <= http.StatusPartialContent {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAgentError))
	if err != nil {
		return fmt.Errorf("read answer of agent: %w", err)
	}
	text := strings.TrimSuffix(string(body), "\n")
	switch response.StatusCode {
	case http.StatusBadRequest:
		return apierrors.NewBadRequest(text)
	case http.StatusInternalServerError:
		return apierrors.NewInternalError(errors.New(text))
	default:
		return apierrors.NewGenericServerResponse(response.StatusCode, "", c.resource.GroupResource(), c.name, text, 0, true)
	}
}
