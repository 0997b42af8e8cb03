package main_test

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// unusedPorts gives ports on which nothing listens: below those that the
// kernel gives to clients.
func unusedPorts(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for len(out) < n {
		port := 12000 + rand.N(20000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		out = append(out, port)
	}
	return out
}
