package prober

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

const mostBody = 10 << 10 // bytes read of an answer

// userAgent is the kubelet's, by which servers know a probe.
const userAgent = "kube-probe/1.37"

// client makes a connection a probe, follows redirects within the same host only, and does not verify certificates.
var client = &http.Client{
	Transport: &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives:  true,
		DisableCompression: true,
	},
	CheckRedirect: func(request *http.Request, via []*http.Request) error {
		if request.URL.Hostname() != via[0].URL.Hostname() {
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	},
}

func newRequest(ctx context.Context, action *v1.HTTPGetAction, container *v1.Container, podIP string) (*http.Request, error) {
	port, err := portNumber(action.Port, container)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(action.Path)
	if err != nil { // taken as it is, then
		target = &url.URL{Path: action.Path}
	}
	target.Scheme = strings.ToLower(string(action.Scheme))
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	target.Host = net.JoinHostPort(hostOr(action.Host, podIP), strconv.Itoa(port))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, header := range action.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	if _, set := request.Header["User-Agent"]; !set {
		request.Header.Set("User-Agent", userAgent)
	}
	if _, set := request.Header["Accept"]; !set {
		request.Header.Set("Accept", "*/*")
	}
	request.Host = request.Header.Get("Host")
	return request, nil
}

func probeHTTP(request *http.Request) verdict {
	response, err := client.Do(request)
	if err != nil {
		return verdict{message: err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, mostBody))
	if err != nil {
		return verdict{err: err}
	}
	switch {
	case response.StatusCode >= http.StatusMultipleChoices && response.StatusCode < http.StatusBadRequest:
		return verdict{success: true, message: fmt.Sprintf("Probe terminated redirects, Response body: %v", string(body))}
	case response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest:
		return verdict{success: true}
	}
	return verdict{message: fmt.Sprintf("HTTP probe failed with statuscode: %d", response.StatusCode)}
}

// HookHTTP makes the request of a lifecycle hook. An answer that says no is an error.
func (p *Prober) HookHTTP(ctx context.Context, action *v1.HTTPGetAction, container *v1.Container, podIP string) error {
	request, err := newRequest(ctx, action, container, podIP)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-lifecycle/1.37")
	if found := probeHTTP(request); found.err != nil {
		return found.err
	} else if !found.success {
		return errors.New(found.message)
	}
	return nil
}
