package main

import (
	"bytes"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/view"
)

// writePage writes a report as a page into a file, whole or not at all, for a
// web server to read; "-" is stdout.
func (w *workspace) writePage(path string, r plan.Report, outside map[offer.Key]view.Outside, style view.Style) error {
	entries, err := w.history(nil, time.Time{})
	if err != nil {
		return err
	}
	if path == "-" {
		return view.HTML(w.stdout, r, entries, outside, style)
	}
	var page bytes.Buffer
	if err := view.HTML(&page, r, entries, outside, style); err != nil {
		return err
	}
	return durable.WriteFile(path, page.Bytes(), 0o644)
}
