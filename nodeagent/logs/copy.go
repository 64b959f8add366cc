package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options say what of a log is wanted. The zero value is all that is there now.
type Options struct {
	// Tail is how many last lines are wanted; 0 all, negative none of those that are there.
	Tail       int64
	Since      time.Time
	Timestamps bool
	LimitBytes int64           // 0: no limit
	Ended      <-chan struct{} // nil: do not follow; otherwise closed when the container has exited
}

// errLimit ends a copy that has reached LimitBytes.
var errLimit = errors.New("limit of bytes reached")

// Copy writes the log at path to stdout and stderr. With Ended it goes on as the log grows, until the container has ended and all is
// read, or ctx is done, which is no error. A log that does not exist is empty unless it is followed.
func Copy(ctx context.Context, stdout, stderr io.Writer, path string, options Options) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer file.Close()
	var growth *watch
	if options.Ended != nil {
		if growth, err = watchFile(path); err != nil {
			return err
		}
		defer growth.close()
	}
	if err := seekTail(file, options.Tail); err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	output := &writer{stdout: stdout, stderr: stderr, options: options}
	reader := bufio.NewReaderSize(file, 32<<10)
	var pending []byte
	last := false
	for {
		chunk, err := reader.ReadBytes('\n')
		pending = append(pending, chunk...)
		if err == nil {
			if err := output.write(pending[:len(pending)-1]); err != nil {
				if errors.Is(err, errLimit) {
					return nil
				}
				return err
			}
			pending = pending[:0]
			continue
		}
		if err != io.EOF {
			return fmt.Errorf("read log: %w", err)
		}
		if growth == nil || last {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-options.Ended:
			last = true // what was written before the exit is still to be read
		case <-growth.changed:
		}
	}
}

type writer struct {
	stdout, stderr io.Writer
	options        Options
	written        int64
	middle         [2]bool // of a line that came in parts, by stream: its start is written
}

func (w *writer) write(raw []byte) error {
	line, err := parse(raw)
	if err != nil {
		return err
	}
	if !line.after(w.options.Since) {
		return nil
	}
	stream, to := 0, w.stdout
	if line.stderr {
		stream, to = 1, w.stderr
	}
	if to == nil {
		return nil
	}
	var out bytes.Buffer
	if w.options.Timestamps && !w.middle[stream] {
		out.Write(line.stamp())
		out.WriteByte(' ')
	}
	out.Write(line.text)
	if !line.partial {
		out.WriteByte('\n')
	}
	w.middle[stream] = line.partial
	text := out.Bytes()
	limited := w.options.LimitBytes > 0 && w.written+int64(len(text)) >= w.options.LimitBytes
	if limited {
		text = text[:w.options.LimitBytes-w.written]
	}
	w.written += int64(len(text))
	if _, err := to.Write(text); err != nil {
		return err
	}
	if limited {
		return errLimit
	}
	return nil
}

// seekTail places file at the start of its last count whole lines, reading backwards.
func seekTail(file *os.File, count int64) error {
	if count == 0 {
		return nil
	}
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || count < 0 {
		return err
	}
	block := make([]byte, 32<<10)
	seen := int64(0) // ends of full lines
	for position := end; position > 0; {
		size := min(int64(len(block)), position)
		position -= size
		if _, err := file.ReadAt(block[:size], position); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if block[i] != '\n' {
				continue
			}
			if seen == count {
				_, err := file.Seek(position+i+1, io.SeekStart)
				return err
			}
			seen++
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}
