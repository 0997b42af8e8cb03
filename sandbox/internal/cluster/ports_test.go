package cluster

import (
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestChoosePorts(t *testing.T) {
	t.Parallel()
	all := Ports{APIServer: 3, Etcd: 4, Facilitator: 5, RPC: 6, Edge: 7}
	tests := map[string]struct {
		has, want Ports
		err       string
		check     func(Ports) bool
	}{
		"none given": {check: func(p Ports) bool {
			return ours(p.APIServer) && ours(p.Etcd) && ours(p.Facilitator) && ours(p.RPC) && ours(p.Edge) && p.Check() == nil
		}},
		"one given": {
			want: Ports{Etcd: 24000},
			check: func(p Ports) bool {
				return ours(p.APIServer) && p.Etcd == 24000 && ours(p.Facilitator) && ours(p.RPC) && ours(p.Edge) && p.Check() == nil
			},
		},
		"all given":   {want: all, check: func(p Ports) bool { return p == all }},
		"kept":        {has: all, check: func(p Ports) bool { return p == all }},
		"given again": {has: all, want: all, check: func(p Ports) bool { return p == all }},
		"some kept": {
			has: Ports{APIServer: 3, Etcd: 4},
			check: func(p Ports) bool {
				return p.APIServer == 3 && p.Etcd == 4 && ours(p.Facilitator) && ours(p.RPC) && ours(p.Edge)
			},
		},
		"other":             {has: all, want: Ports{APIServer: 8}, err: "cannot use port 8: this sandbox has port 3 for the API server"},
		"other etcd":        {has: all, want: Ports{Etcd: 8}, err: "cannot use port 8: this sandbox has port 4 for etcd"},
		"other facilitator": {has: all, want: Ports{Facilitator: 8}, err: "cannot use port 8: this sandbox has port 5 for the facilitator"},
		"other RPC":         {has: all, want: Ports{RPC: 8}, err: "cannot use port 8: this sandbox has port 6 for the chain's JSON-RPC"},
		"other edge":        {has: all, want: Ports{Edge: 8}, err: "cannot use port 8: this sandbox has port 7 for the edge"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.has
			if err := p.choose(tc.want); fmt.Sprint(err) != fmt.Sprint(errorOrNil(tc.err)) {
				t.Fatalf("got error %v, want %q", err, tc.err)
			}
			if tc.check != nil && !tc.check(p) {
				t.Errorf("chose %+v", p)
			}
		})
	}
}

// TestChooseGivesNoPortTwice: of the free ones, too, and whichever is given.
func TestChooseGivesNoPortTwice(t *testing.T) {
	t.Parallel()
	for range 200 {
		var p Ports
		if err := p.choose(Ports{RPC: lowestPort}); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func errorOrNil(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func ours(port int) bool { return port >= lowestPort && port <= highestPort }

func TestATakenPortIsNotFree(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := free(port); !errors.Is(err, errPortTaken) {
		t.Errorf("a port with a listener: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := free(port); err != nil {
		t.Errorf("a port without one: %v", err)
	}
}
