package apiserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kubelite/kubelite/apiserver/store"
	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/pki"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// agentUser is the identity that agents accept, and no other.
const agentUser = "kube-apiserver-kubelet-client"

// agentDialTimeout bounds connecting to an agent, not what comes after.
const agentDialTimeout = 10 * time.Second

// newAgentClient makes the client of all agents. path names the network namespace that agents are reached from.
func newAgentClient(authority *pki.Authority, path string) (*http.Client, error) {
	pair, err := authority.IssueClient(agentUser, "system:masters")
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		DialContext:         netns.Dialer(path),
		TLSHandshakeTimeout: agentDialTimeout,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
		TLSClientConfig: &tls.Config{
			RootCAs:      authority.Pool(),
			Certificates: []tls.Certificate{certificate},
			NextProtos:   []string{"http/1.1"}, // upgrades need it
			MinVersion:   tls.VersionTLS12,
		},
	}}, nil
}

// agentURL is a path of the agent of the Pod's node.
func (c *call) agentURL(pod *corev1.Pod, query url.Values, segments ...string) (*url.URL, error) {
	item, err := c.store.Get(store.Key{Resource: corev1.Resource("nodes"), Name: pod.Spec.NodeName})
	if err != nil {
		return nil, apierrors.NewNotFound(corev1.Resource("nodes"), pod.Spec.NodeName)
	}
	node, ok := item.Object.(*corev1.Node)
	if !ok {
		return nil, fmt.Errorf("node %s is a %T", pod.Spec.NodeName, item.Object)
	}
	for _, address := range node.Status.Addresses {
		if address.Type != corev1.NodeInternalIP {
			continue
		}
		ip, err := netip.ParseAddr(address.Address)
		if err != nil {
			return nil, fmt.Errorf("address of node %s: %w", node.Name, err)
		}
		port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
		if port == 0 {
			port = 10250
		}
		host := net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
		return &url.URL{Scheme: "https", Host: host, Path: "/" + strings.Join(segments, "/"), RawQuery: query.Encode()}, nil
	}
	return nil, fmt.Errorf("no preferred addresses found; known addresses: %v", node.Status.Addresses)
}

func agentUnreachable(location *url.URL, err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return apierrors.NewInternalError(&url.Error{Op: "Get", URL: location.String(), Err: err})
}

// joinAgent sends the client's request to the agent and, when that answers 101, copies bytes both ways until one side ends.
func (c *call) joinAgent(location *url.URL) error {
	if !isUpgrade(c.r) {
		return apierrors.NewBadRequest("Upgrade request required")
	}
	agent, reader, response, err := c.upgradeAgent(location)
	if err != nil {
		return err
	}
	defer agent.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		defer response.Body.Close()
		return c.passOn(response)
	}
	client, buffered, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return fmt.Errorf("take over connection: %w", err)
	}
	defer client.Close()
	if err := response.Write(client); err != nil {
		logWrite(c.r, err)
		return nil
	}
	c.copyBothWays(client, buffered.Reader, agent, reader)
	return nil
}

// passOn answers with the agent's refusal as it is: clients show its text after "unable to upgrade connection: ".
func (c *call) passOn(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAgentError))
	if err != nil {
		return agentUnreachable(response.Request.URL, err)
	}
	writeBody(c.w, c.r, response.StatusCode, response.Header.Get("Content-Type"), body)
	return nil
}

func isUpgrade(r *http.Request) bool {
	for _, value := range r.Header.Values("Connection") {
		if strings.Contains(strings.ToLower(value), "upgrade") {
			return true
		}
	}
	return false
}

// upgradeAgent opens a connection to the agent and sends it the client's request under another path.
func (c *call) upgradeAgent(location *url.URL) (net.Conn, *bufio.Reader, *http.Response, error) {
	transport, ok := c.agents.Transport.(*http.Transport)
	if !ok {
		return nil, nil, nil, fmt.Errorf("agents' transport is a %T", c.agents.Transport)
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), agentDialTimeout)
	defer cancel()
	plain, err := transport.DialContext(ctx, "tcp", location.Host)
	if err != nil {
		return nil, nil, nil, agentUnreachable(location, err)
	}
	config := transport.TLSClientConfig.Clone()
	config.ServerName = location.Hostname()
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, nil, nil, agentUnreachable(location, err)
	}
	// An agent that never answers holds the request up no longer than the client waits.
	waiting, done := c.untilStopping()
	defer done()
	defer context.AfterFunc(waiting, func() { conn.Close() })()
	request := &http.Request{Method: c.r.Method, URL: location, Host: location.Host, Header: c.r.Header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	request.Header.Del("Authorization")
	if err := request.Write(conn); err != nil {
		conn.Close()
		return nil, nil, nil, agentUnreachable(location, err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		conn.Close()
		return nil, nil, nil, agentUnreachable(location, err)
	}
	return conn, reader, response, nil
}

// copyBothWays ends when either side has ended, or the server does. What the readers have buffered comes first.
func (c *call) copyBothWays(client net.Conn, fromClient io.Reader, agent net.Conn, fromAgent io.Reader) {
	ended := make(chan error, 2)
	forward := func(to io.Writer, from io.Reader) {
		_, err := io.Copy(to, from)
		ended <- err
	}
	go forward(agent, fromClient) // both stop when the connections are closed below
	go forward(client, fromAgent)
	running := 2
	select {
	case err := <-ended:
		running--
		slog.Debug("stream ended", "path", c.r.URL.Path, "error", err)
	case <-c.stopping:
	}
	client.Close()
	agent.Close()
	for range running {
		<-ended
	}
}
