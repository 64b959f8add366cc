package prober

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// servingStatus are the answers of the gRPC health checking protocol, grpc.health.v1.
var servingStatus = map[uint64]string{0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}

// probeGRPC calls grpc.health.v1.Health/Check. It is one unary call with two one-field messages, so it speaks HTTP/2 itself rather than
// bring in a gRPC library.
func probeGRPC(ctx context.Context, host string, port int, service string, timeout time.Duration) verdict {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	message := []byte{}
	if service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/grpc.health.v1.Health/Check", bytes.NewReader(body))
	if err != nil {
		return verdict{err: err}
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	request.Header.Set("User-Agent", userAgent)
	response, err := transport.RoundTrip(request)
	if err != nil {
		if ctx.Err() != nil {
			return verdict{message: fmt.Sprintf("timeout: failed to connect service %q within %v: context deadline exceeded", address, timeout)}
		}
		return verdict{message: fmt.Sprintf("error: this connection to %q failed: %v", address, err)}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, mostBody))
	if err != nil {
		return verdict{message: fmt.Sprintf("error: health rpc failed: %v", err)}
	}
	code := response.Trailer.Get("Grpc-Status")
	if code == "" {
		code = response.Header.Get("Grpc-Status")
	}
	switch code {
	case "0":
	case "12":
		return verdict{message: "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"}
	default:
		return verdict{message: fmt.Sprintf("error: health rpc failed: rpc error: code = %s desc = %s", code, response.Trailer.Get("Grpc-Message"))}
	}
	if status := servingStatus[healthStatus(answer)]; status != "SERVING" {
		return verdict{message: fmt.Sprintf("service unhealthy (responded with %q)", status)}
	}
	return verdict{success: true}
}

// healthStatus is field 1 of the HealthCheckResponse in a gRPC frame.
func healthStatus(frame []byte) uint64 {
	const header = 5 // compressed flag and length
	if len(frame) < header+2 || frame[header] != 1<<3 {
		return 0
	}
	status, _ := binary.Uvarint(frame[header+1:])
	return status
}
