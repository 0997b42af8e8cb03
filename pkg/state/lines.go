package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An acceptedFile is the content of accepted/NUMBER.json: one JSON document
// with each offer and each spec on a line of its own. So two of them are easy
// to compare, and one is quick to read, since lines can be decoded side by
// side.
type acceptedFile struct {
	Version int `json:"version"`
	plan.Accepted
}

// What stands around the lines, and without them. No JSON string holds a line
// break or a bare quote, so none of it can be found within one.
const (
	offersStart = "\"offers\":[\n"
	specsStart  = "\n],\"specs\":[\n"
	specsEnd    = "\n]"
	lineEnd     = ",\n"
	noLines     = `"offers":null,"specs":null`
)

func encodeAccepted(a plan.Accepted) ([]byte, error) {
	offers, err := encodeLines(a.Set.Offers)
	if err != nil {
		return nil, err
	}
	specs, err := encodeLines(a.Set.Specs)
	if err != nil {
		return nil, err
	}
	a.Set.Offers, a.Set.Specs = nil, nil
	frame, err := json.Marshal(acceptedFile{version, a})
	if err != nil {
		return nil, fmt.Errorf("cannot encode the accepted set: %w", err)
	}
	before, after, ok := bytes.Cut(frame, []byte(noLines))
	if !ok {
		return nil, errors.New("internal error: the accepted set has no place for offers and specs")
	}
	return bytes.Join([][]byte{before, []byte(offersStart), offers, []byte(specsStart), specs, []byte(specsEnd), after, {'\n'}}, nil), nil
}

func encodeLines[T any](list []T) ([]byte, error) {
	lines := make([][]byte, len(list))
	for i, v := range list {
		line, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the accepted set: %w", err)
		}
		lines[i] = line
	}
	return bytes.Join(lines, []byte(lineEnd)), nil
}

// decodeAccepted reads what encodeAccepted wrote, and any other layout of it
// too, more slowly.
func decodeAccepted(path string, data []byte) (plan.Accepted, error) {
	var f acceptedFile
	if f.byLines(data) == nil && f.Version == version {
		return f.Accepted, nil
	}
	f = acceptedFile{}
	err := decode(path, data, &f)
	return f.Accepted, err
}

var errLayout = errors.New("not in lines")

func (f *acceptedFile) byLines(data []byte) error {
	before, rest, foundOffers := bytes.Cut(data, []byte(offersStart))
	offers, rest, foundSpecs := bytes.Cut(rest, []byte(specsStart))
	specs, after, foundEnd := bytes.Cut(rest, []byte(specsEnd))
	if !foundOffers || !foundSpecs || !foundEnd {
		return errLayout
	}
	frame := bytes.Join([][]byte{before, []byte(noLines), after}, nil)
	if err := json.Unmarshal(frame, f); err != nil {
		return err
	}
	var err error
	if f.Set.Offers, err = decodeLines[offer.Offer](offers); err != nil {
		return err
	}
	f.Set.Specs, err = decodeLines[resource.Spec](specs)
	return err
}

func decodeLines[T any](data []byte) ([]T, error) {
	if len(data) == 0 {
		return nil, nil
	}
	lines := bytes.Split(data, []byte(lineEnd))
	out := make([]T, len(lines))
	workers := runtime.GOMAXPROCS(0)
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(lines); i += workers {
				if err := json.Unmarshal(lines[i], &out[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return out, g.Wait()
}
