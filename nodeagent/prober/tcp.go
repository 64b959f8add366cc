package prober

import (
	"context"
	"net"
	"strconv"
)

func probeTCP(ctx context.Context, host string, port int) verdict {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return verdict{message: err.Error()}
	}
	conn.Close()
	return verdict{success: true}
}
