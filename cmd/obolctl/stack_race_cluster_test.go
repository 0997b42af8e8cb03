//go:build cluster && race

package main_test

// raced reports whether the race detector slows everything down.
const raced = true
