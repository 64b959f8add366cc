package registry

import (
	"errors"
	"fmt"
	"sync"
)

var (
	// errPoolFull is returned by next when every number is taken.
	errPoolFull = errors.New("range is full")
)

// pool hands out the numbers first..last, each once. Numbers below the first dynamic one are the static band: they are
// picked only when asked for, or when nothing else is left (KEP-3070, KEP-3668). Safe for concurrent use.
type pool struct {
	first, dynamic, last int
	intN                 func(n int) int
	// outOfRange and allocated are the errors of take.
	outOfRange, allocated error

	mu sync.Mutex
	// taken counts the holders of a number: more than one only where stored objects share it.
	taken map[int]int
}

// take reserves a number that was asked for.
func (p *pool) take(number int) error {
	if number < p.first || number > p.last {
		return p.outOfRange
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[number] > 0 {
		return p.allocated
	}
	p.taken[number]++
	return nil
}

// next reserves a free number, chosen at random from the dynamic band if it has any. It returns errPoolFull.
func (p *pool) next() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, band := range [][2]int{{p.dynamic, p.last}, {p.first, p.dynamic - 1}} {
		if number, found := p.pick(band[0], band[1]); found {
			p.taken[number]++
			return number, nil
		}
	}
	return 0, errPoolFull
}

// pick finds the first free number from a random one on, around the end.
func (p *pool) pick(first, last int) (int, bool) {
	size := last - first + 1
	if size <= 0 {
		return 0, false
	}
	start := p.intN(size)
	for i := range size {
		if number := first + (start+i)%size; p.taken[number] == 0 {
			return number, true
		}
	}
	return 0, false
}

// reserve adds a holder of a number without any check.
func (p *pool) reserve(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[number]++
}

// free ends one holding of a number. Freeing a free number does nothing.
func (p *pool) free(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[number] > 1 {
		p.taken[number]--
		return
	}
	delete(p.taken, number)
}

// staticBand is how many of size numbers are kept for those who ask for one: a share, with a floor and a ceiling, and
// none of a range no bigger than the floor.
func staticBand(size, share, floor, ceiling int) int {
	if size <= floor {
		return 0
	}
	return min(max(size/share, floor), ceiling)
}

func newPortPool(first, last int, intN func(int) int) *pool {
	return &pool{
		first:      first,
		dynamic:    first + staticBand(last-first+1, 32, 16, 128),
		last:       last,
		intN:       intN,
		outOfRange: fmt.Errorf("provided port is not in the valid range. The range of valid ports is %s", portPoolRange(first, last)),
		allocated:  errors.New("provided port is already allocated"),
		taken:      map[int]int{},
	}
}
