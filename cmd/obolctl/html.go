package main

import (
	"bytes"
	"os"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/view"
)

// writePage writes a report as a page into a file, whole or not at all, for a
// web server to read; "-" is stdout. It takes the place of a page that is there,
// and of nothing else: not of a link, nor of a device.
func (w *workspace) writePage(path string, r plan.Report, outside map[offer.Key]view.Outside, style view.Style) error {
	entries, err := w.history(nil, time.Time{})
	if err != nil {
		return err
	}
	if path == "-" {
		return view.HTML(w.stdout, r, entries, outside, style)
	}
	if there, err := os.Lstat(path); err == nil && !there.Mode().IsRegular() {
		return misuse("%q is no regular file, and would be replaced by one (\"-\" is stdout)", path)
	}
	var page bytes.Buffer
	if err := view.HTML(&page, r, entries, outside, style); err != nil {
		return err
	}
	return durable.WriteFile(path, page.Bytes(), 0o644)
}
