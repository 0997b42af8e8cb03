package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

const (
	pageSize = 500
	restarts = 3 // of a LIST whose pages expired while it went on
)

// list reads all objects of a kind, page by page, and hands each to keep, in
// parallel with the reading of the next page. It calls reset before it starts
// and whenever it starts over. Without an error, everything was seen.
func (c *Client) list(ctx context.Context, k kind, reset func(), keep func(json.RawMessage) error) error {
	var err error
	for range restarts {
		reset()
		if err = c.pages(ctx, k, keep); code(err) != http.StatusGone {
			return err
		}
	}
	return err
}

func (c *Client) pages(ctx context.Context, k kind, keep func(json.RawMessage) error) (err error) {
	kept := make(chan error, 1) // of the page before
	kept <- nil
	defer func() {
		if e := <-kept; err == nil {
			err = e
		}
	}()
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []json.RawMessage `json:"items"`
		}
		if err := c.read(ctx, request{verb: verbList, path: k.everywhere(), query: query}, &page); err != nil {
			return err
		}
		if page.Kind != k.name+"List" { // anything else that is JSON would read as an empty list
			return fmt.Errorf("garbled answer: a %q instead of a %sList", page.Kind, k.name)
		}
		if err := <-kept; err != nil {
			kept <- nil
			return err
		}
		go func() { kept <- keepAll(page.Items, keep) }()
		if page.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

func keepAll(items []json.RawMessage, keep func(json.RawMessage) error) error {
	for _, raw := range items {
		if err := keep(raw); err != nil {
			return err
		}
	}
	return nil
}
