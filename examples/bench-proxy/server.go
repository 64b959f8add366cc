package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// server is a `kubelite server`, controllers included.
type server struct {
	cmd    *exec.Cmd
	client kubernetes.Interface
}

func (b *bench) kubeconfig() string { return filepath.Join(b.directory, "kubeconfig") }

// startServer starts an API server with an empty store, and waits until it answers.
func (b *bench) startServer(ctx context.Context) (*server, error) {
	log, err := os.Create(filepath.Join(b.directory, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{cmd: exec.CommandContext(ctx, b.options.kubelite, "server", "--data-dir", filepath.Join(b.directory, "server"),
		"--listen", serverAddress+":6443", "--write-kubeconfig", b.kubeconfig(), "--service-cidr", serviceNetwork, "--pod-cidr", podNetwork,
		"--dns-address", "10.160.0.10")}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := netns.Start(b.lab.server, s.cmd); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	if s.client, err = b.connect(ctx); err == nil {
		err = errors.Join(s.createNode(ctx, 1), s.createNode(ctx, 2))
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// createNode makes the Node that a proxy asks for its address. No agent keeps it alive.
func (s *server) createNode(ctx context.Context, number int) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", number)}}
	if _, err := s.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Node %s: %w", node.Name, err)
	}
	return patchNodeStatus(ctx, s.client, node.Name, corev1.NodeStatus{
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress(number)}}})
}

// patchNodeStatus patches and does not update: controllers write to a new Node at the same time.
func patchNodeStatus(ctx context.Context, client kubernetes.Interface, name string, status corev1.NodeStatus) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err == nil {
		_, err = client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil {
		return fmt.Errorf("write status of Node %s: %w", name, err)
	}
	return nil
}

func (b *bench) connect(ctx context.Context) (kubernetes.Interface, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		client, err := b.client()
		if err == nil {
			_, err = client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		}
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the API server: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *bench) client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.kubeconfig())
	if err != nil {
		return nil, err
	}
	config.Dial, config.QPS = netns.Dialer(b.lab.server), -1
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	return kubernetes.NewForConfig(config)
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ended := make(chan struct{})
	go func() {
		s.cmd.Wait() // how it ends when it is told to does not matter
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(errors.New("server does not end"), s.cmd.Process.Kill())
	}
}
