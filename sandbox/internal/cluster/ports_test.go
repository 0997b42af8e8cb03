package cluster

import (
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestChoosePorts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		has, want Ports
		err       string
		check     func(Ports) bool
	}{
		"none given": {check: func(p Ports) bool { return ours(p.APIServer) && ours(p.Etcd) && p.APIServer != p.Etcd }},
		"one given": {
			want:  Ports{Etcd: 24000},
			check: func(p Ports) bool { return ours(p.APIServer) && p.APIServer != 24000 && p.Etcd == 24000 },
		},
		"both given":  {want: Ports{1, 2}, check: func(p Ports) bool { return p == Ports{1, 2} }},
		"kept":        {has: Ports{3, 4}, check: func(p Ports) bool { return p == Ports{3, 4} }},
		"given again": {has: Ports{3, 4}, want: Ports{3, 4}, check: func(p Ports) bool { return p == Ports{3, 4} }},
		"other":       {has: Ports{3, 4}, want: Ports{APIServer: 5}, err: "cannot use port 5: this sandbox has port 3 for its API server"},
		"other etcd":  {has: Ports{3, 4}, want: Ports{Etcd: 5}, err: "cannot use port 5: this sandbox has port 4 for etcd"},
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
