//go:build cluster

package main_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An entry is what the catalog says of one offer.
type entry struct {
	Name, Endpoint string
	DrainEndsAt    *time.Time
}

// entries is the catalog.
func (s *market) entries() []entry {
	s.t.Helper()
	resp, err := http.Get(s.cluster.Edge + "/api/services.json")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct{ Services []entry }
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		s.t.Fatal(err)
	}
	return doc.Services
}

// untilListed waits until the catalog lists just these.
func (s *market) untilListed(names ...string) {
	s.t.Helper()
	slices.Sort(names)
	var last []string
	defer func() {
		if !slices.Equal(last, names) {
			s.t.Logf("the catalog lists %q, want %q", last, names)
		}
	}()
	until(s.t, func() bool {
		last = s.names()
		return slices.Equal(last, names)
	})
}

// names is the names in the catalog, sorted.
func (s *market) names() []string {
	s.t.Helper()
	names := []string{}
	for _, e := range s.entries() {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names
}

// pays buys at an offer's URL.
func (s *market) pays(name string) {
	s.t.Helper()
	if err := s.cluster.Buy(s.cluster.Edge + "/services/" + name + "/"); err != nil {
		s.t.Errorf("%s: %v", name, err)
	}
}

// refuses waits until nothing is for sale at an offer's URL: the catalog may
// leave an offer out a moment before its route is gone.
func (s *market) refuses(name string) {
	s.t.Helper()
	until(s.t, func() bool {
		resp, err := http.Get(s.cluster.Edge + "/services/" + name + "/")
		if err != nil {
			s.t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			s.t.Fatal(err)
		}
		return resp.StatusCode == http.StatusNotFound
	})
}

// deletes has somebody else delete an offer, and waits until it is gone.
func (s *market) deletes(name string) {
	s.t.Helper()
	s.stranger("kubectl").delete(offers, s.ns, name)
	until(s.t, func() bool { return s.offer(name) == nil })
}

// adds declares more beside what is declared.
func (s *market) adds(blocks ...string) {
	s.t.Helper()
	s.write("offers.hcl", s.file()+strings.Join(blocks, "\n"))
}
