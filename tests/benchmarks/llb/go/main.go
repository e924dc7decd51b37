// Builds three graphs with BuildKit's own client and says how long that took.
//
// Printed as JSON, one object for each graph: seconds to build and marshal and encode, and the
// digest of the head, by which bench_llb.py checks that both made the same graph.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/moby/buildkit/client/llb"
)

const alpine = "docker.io/library/alpine:latest"

// generator is the linear congruential generator of the random graph; the Python side has the same.
type generator struct{ x int64 }

func (g *generator) next(n int) int {
	g.x = (g.x*1103515245 + 12345) % (1 << 31)
	return int(g.x/256) % n
}

func run(s llb.State, args []string, opts ...llb.RunOption) llb.State {
	return s.Run(append([]llb.RunOption{llb.Args(args)}, opts...)...).Root()
}

func chain(n int) llb.State {
	s := llb.Image(alpine)
	for i := range n {
		s = run(s, []string{"sh", "-c", "echo " + strconv.Itoa(i)})
	}
	return s
}

func merge(n int) llb.State {
	base := llb.Image(alpine)
	states := make([]llb.State, 0, n)
	for i := range n {
		states = append(states, run(base, []string{"sh", "-c", "echo " + strconv.Itoa(i)}))
	}
	return llb.Merge(states)
}

// choices says which earlier states each run of the random graph mounts.
func choices(size int) [][]int {
	g := &generator{x: 7}
	chosen := make([][]int, size)
	for number := range chosen {
		chosen[number] = make([]int, 1+g.next(3))
		for place := range chosen[number] {
			chosen[number][place] = g.next(number + 1)
		}
	}
	return chosen
}

func randomDAG(chosen [][]int) llb.State {
	base := llb.Image(alpine)
	states := []llb.State{base}
	picked := map[int]bool{}
	for number, places := range chosen {
		opts := make([]llb.RunOption, 0, len(places))
		for place, c := range places {
			picked[c] = true
			opts = append(opts, llb.AddMount("/in"+strconv.Itoa(place), states[c], llb.Readonly))
		}
		states = append(states, run(base, []string{"step", strconv.Itoa(number)}, opts...))
	}
	var loose []llb.State
	for i, s := range states {
		if !picked[i] {
			loose = append(loose, s)
		}
	}
	return llb.Merge(loose)
}

type result struct {
	Graph   string  `json:"graph"`
	Seconds float64 `json:"seconds"`
	Head    string  `json:"head"`
	Bytes   int     `json:"bytes"`
}

func measure(name string, make func() llb.State) (result, error) {
	start := time.Now()
	def, err := make().Marshal(context.Background(), llb.LinuxAmd64, llb.LocalUniqueID("bench"))
	if err != nil {
		return result{}, err
	}
	encoded, err := def.ToPB().MarshalVT()
	if err != nil {
		return result{}, err
	}
	seconds := time.Since(start).Seconds()
	head, err := def.Head()
	if err != nil {
		return result{}, err
	}
	return result{name, seconds, head.String(), len(encoded)}, nil
}

func main() {
	// The numbers of the random graph are chosen before the clock starts: they are no part of either library.
	chosen := choices(5000)
	graphs := map[string]func() llb.State{
		"chain": func() llb.State { return chain(10000) },
		"merge": func() llb.State { return merge(10000) },
		"dag":   func() llb.State { return randomDAG(chosen) },
	}
	for _, name := range os.Args[1:] {
		r, err := measure(name, graphs[name])
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
