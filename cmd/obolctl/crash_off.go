//go:build !crashtest

package main

// crashPoint does nothing: only builds for tests can be stopped at a point.
func crashPoint(process) func(string) { return func(string) {} }
