package behaviour

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"time"
)

// What a slow machine, such as one that is emulated without KVM, sets in the environment. Nobody else needs it.
var (
	// slowness is how many times longer than usual a client waits for an answer, and by how much fewer clients there are at a time.
	slowness = setting("KUBELITE_BEHAVIOUR_SLOWNESS", 1)
	// matrixServices is how many of the matrix's Services are played.
	matrixServices = setting("KUBELITE_BEHAVIOUR_SERVICES", len(shapes()))
)

// setting is a number above zero of the environment; where there is none, usual.
func setting(name string, usual int) int {
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		panic(name + " is not a number above zero: " + text)
	}
	return number
}

// slowly is a wait on this machine.
func slowly(usual time.Duration) time.Duration { return time.Duration(slowness) * usual }

// sample are n of all at random, but always the same ones, in their order.
func sample[T any](all []T, n int) []T {
	random := rand.New(rand.NewPCG(3, 3))
	chosen := random.Perm(len(all))[:min(n, len(all))]
	slices.Sort(chosen)
	some := make([]T, 0, len(chosen))
	for _, i := range chosen {
		some = append(some, all[i])
	}
	return some
}
