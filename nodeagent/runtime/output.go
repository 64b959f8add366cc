package runtime

import (
	"slices"
	"sync"
)

// Output keeps the first bytes of what a command prints and drops the others. It may be both of a command's streams: they are written at a
// time. (Not a bytes.Buffer inside, whose ReadFrom would become its own.) The zero value is ready.
type Output struct {
	mutex sync.Mutex
	kept  []byte
}

// mostOutput is what the kubelet keeps of a probe's or a hook's output, in bytes.
const mostOutput = 10 << 10

// Write never fails.
func (o *Output) Write(data []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.kept = append(o.kept, data[:min(len(data), mostOutput-len(o.kept))]...)
	return len(data), nil
}

// Bytes is a copy of what has been kept so far.
func (o *Output) Bytes() []byte {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return slices.Clone(o.kept)
}
