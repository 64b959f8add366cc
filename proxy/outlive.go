package proxy

import (
	"context"
	"time"
)

// outlive returns a context that ends grace after ctx does: what is being written when a proxy is told to stop is written
// to its end, so that nothing is left half done, but one that hangs does not keep the proxy alive. Call the returned
// function to let it go.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}
