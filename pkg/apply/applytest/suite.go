// Package applytest holds the suite that every [apply.Maker] must pass, and a
// maker in memory that passes it.
package applytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Setup is what the suite needs to know of one home. All functions must be
// safe for concurrent use.
type Setup struct {
	// Fresh gives a maker of the home that has forgotten all that others did,
	// as the maker of a new process has.
	Fresh func(testing.TB) apply.Maker

	// Spec gives something that the maker accepts and that is not there:
	// another ID each time. What it made is taken away when the test is over.
	Spec func(testing.TB) resource.Spec

	// Changed gives the same ID with another wish.
	Changed func(resource.Spec) resource.Spec

	// Plant puts the spec's resource there without our mark, as somebody else
	// would. Nil in a home that cannot hold such a thing.
	Plant func(testing.TB, resource.Spec)

	// See tells what is there, without asking a maker.
	See func(testing.TB, resource.ID) resource.Sighting
}

// TestMaker holds the makers of a home to the contract of [apply.Maker]. Its
// parts run in parallel, each with things of its own.
func TestMaker(t *testing.T, s Setup) {
	for name, part := range map[string]func(*testing.T, Setup){
		"put creates":                         putCreates,
		"put again is the same success":       putAgain,
		"put without terms changes nothing":   putDiffers,
		"put leaves what is not ours":         putForeign,
		"put on terms changes":                putChanges,
		"put on terms again":                  putChangesAgain,
		"put of another instance":             putMoved,
		"put on terms never creates":          putGone,
		"delete":                              deleteMine,
		"delete of another instance":          deleteMoved,
		"delete leaves what is not ours":      deleteForeign,
		"told to stop":                        stopped,
		"cut short, then again":               cutShort,
		"many at once":                        manyAtOnce,
		"deleted and made again is a new one": madeAgain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, s)
		})
	}
}

func putCreates(t *testing.T, s Setup) {
	want := s.Spec(t)
	got, err := s.Fresh(t).Put(t.Context(), want, resource.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	there := s.See(t, want.ID)
	if there.Presence != resource.Present {
		t.Fatalf("after Put %s is %v", want.ID, there.Presence)
	}
	if got.Presence != resource.Present || uid(got) != uid(there) || uid(got) == "" {
		t.Errorf("Put saw %v with UID %q, but there is %q", got.Presence, uid(got), uid(there))
	}
}

func putAgain(t *testing.T, s Setup) {
	want := s.Spec(t)
	first := put(t, s, want)
	again, err := s.Fresh(t).Put(t.Context(), want, resource.Terms{})
	if err != nil {
		t.Fatalf("the same Put again: %v", err)
	}
	if uid(again) != uid(first) {
		t.Errorf("the same Put again made another one: UID %q, then %q", uid(first), uid(again))
	}
}

func putDiffers(t *testing.T, s Setup) {
	want := s.Spec(t)
	put(t, s, want)
	before := s.See(t, want.ID)
	_, err := s.Fresh(t).Put(t.Context(), s.Changed(want), resource.Terms{})
	if !errors.Is(err, resource.ErrMoved) {
		t.Errorf("Put without terms over something else of ours = %v, want ErrMoved", err)
	}
	same(t, s, want.ID, before)
}

func putForeign(t *testing.T, s Setup) {
	if s.Plant == nil {
		t.Skip("nothing foreign can be there")
	}
	want := s.Spec(t)
	s.Plant(t, want)
	before := s.See(t, want.ID)
	for _, spec := range []resource.Spec{want, s.Changed(want)} {
		if _, err := s.Fresh(t).Put(t.Context(), spec, resource.Terms{}); !errors.Is(err, resource.ErrNotOurs) {
			t.Errorf("Put over what is not ours = %v, want ErrNotOurs", err)
		}
	}
	same(t, s, want.ID, before)
}

func putChanges(t *testing.T, s Setup) {
	want := s.Spec(t)
	changed := s.Changed(want)
	got, err := s.Fresh(t).Put(t.Context(), changed, terms(put(t, s, want)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, want.ID, got)
	// What is there now is what the change asked for: to create that again is
	// no news, and to create the old one is.
	if _, err := s.Fresh(t).Put(t.Context(), changed, resource.Terms{}); err != nil {
		t.Errorf("the change did not take hold: %v", err)
	}
	if _, err := s.Fresh(t).Put(t.Context(), want, resource.Terms{}); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("the old wish after the change = %v, want ErrMoved", err)
	}
}

func putChangesAgain(t *testing.T, s Setup) {
	want := s.Spec(t)
	on := terms(put(t, s, want))
	changed := s.Changed(want)
	if _, err := s.Fresh(t).Put(t.Context(), changed, on); err != nil {
		t.Fatal(err)
	}
	before := s.See(t, want.ID)
	if _, err := s.Fresh(t).Put(t.Context(), changed, on); err != nil && !errors.Is(err, resource.ErrMoved) {
		t.Errorf("the same change again = %v, want nil or ErrMoved", err)
	}
	same(t, s, want.ID, before)
}

func putMoved(t *testing.T, s Setup) {
	want := s.Spec(t)
	put(t, s, want)
	before := s.See(t, want.ID)
	on := terms(before)
	on.UID = "00000000-0000-4000-8000-000000000000"
	if _, err := s.Fresh(t).Put(t.Context(), s.Changed(want), on); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("Put on another UID's terms = %v, want ErrMoved", err)
	}
	same(t, s, want.ID, before)
}

func putGone(t *testing.T, s Setup) {
	want := s.Spec(t)
	on := terms(put(t, s, want))
	if err := s.Fresh(t).Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fresh(t).Put(t.Context(), want, on); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("Put on the terms of what is gone = %v, want ErrMoved", err)
	}
	absent(t, s, want.ID)
}

func deleteMine(t *testing.T, s Setup) {
	for name, on := range map[string]func(resource.Sighting) resource.Terms{
		"with a UID": func(seen resource.Sighting) resource.Terms { return resource.Terms{UID: uid(seen)} },
		"without":    func(resource.Sighting) resource.Terms { return resource.Terms{} },
	} {
		want := s.Spec(t)
		given := on(put(t, s, want))
		for _, when := range []string{"", " again"} {
			if err := s.Fresh(t).Delete(t.Context(), want.ID, given); err != nil {
				t.Errorf("Delete %s%s: %v", name, when, err)
			}
			absent(t, s, want.ID)
		}
	}
	if err := s.Fresh(t).Delete(t.Context(), s.Spec(t).ID, resource.Terms{}); err != nil {
		t.Errorf("Delete of what never was: %v", err)
	}
}

func deleteMoved(t *testing.T, s Setup) {
	want := s.Spec(t)
	put(t, s, want)
	before := s.See(t, want.ID)
	err := s.Fresh(t).Delete(t.Context(), want.ID, resource.Terms{UID: "00000000-0000-4000-8000-000000000000"})
	if !errors.Is(err, resource.ErrMoved) {
		t.Errorf("Delete of another UID = %v, want ErrMoved", err)
	}
	same(t, s, want.ID, before)
}

func deleteForeign(t *testing.T, s Setup) {
	if s.Plant == nil {
		t.Skip("nothing foreign can be there")
	}
	want := s.Spec(t)
	s.Plant(t, want)
	before := s.See(t, want.ID)
	if err := s.Fresh(t).Delete(t.Context(), want.ID, resource.Terms{}); !errors.Is(err, resource.ErrNotOurs) {
		t.Errorf("Delete of what is not ours = %v, want ErrNotOurs", err)
	}
	same(t, s, want.ID, before)
}

func stopped(t *testing.T, s Setup) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := s.Spec(t)
	if _, err := s.Fresh(t).Put(ctx, want, resource.Terms{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want context.Canceled", err)
	}
	absent(t, s, want.ID)
	put(t, s, want)
	before := s.See(t, want.ID)
	if err := s.Fresh(t).Delete(ctx, want.ID, resource.Terms{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete = %v, want context.Canceled", err)
	}
	same(t, s, want.ID, before)
}

// cutShort ends a call at many points of its work. Whatever it left behind, the
// same call by a new process succeeds.
func cutShort(t *testing.T, s Setup) {
	want := s.Spec(t)
	for after := time.Millisecond; after <= 64*time.Millisecond; after *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, err := s.Fresh(t).Put(ctx, want, resource.Terms{})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put that had %v = %v, want nil or context.DeadlineExceeded", after, err)
		}
		if _, err := s.Fresh(t).Put(t.Context(), want, resource.Terms{}); err != nil {
			t.Fatalf("Put after one that had %v: %v", after, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), after)
		err = s.Fresh(t).Delete(ctx, want.ID, resource.Terms{})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Delete that had %v = %v, want nil or context.DeadlineExceeded", after, err)
		}
		if err := s.Fresh(t).Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
			t.Fatalf("Delete after one that had %v: %v", after, err)
		}
		absent(t, s, want.ID)
	}
}

func manyAtOnce(t *testing.T, s Setup) {
	const n = 8
	m := s.Fresh(t)
	specs := make([]resource.Spec, n)
	for i := range specs {
		specs[i] = s.Spec(t)
	}
	errs := make([]error, n)
	var all sync.WaitGroup
	for i, want := range specs {
		all.Go(func() {
			if _, err := m.Put(t.Context(), want, resource.Terms{}); err != nil {
				errs[i] = fmt.Errorf("Put %s: %w", want.ID, err)
				return
			}
			if i%2 == 1 {
				errs[i] = m.Delete(t.Context(), want.ID, resource.Terms{})
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for i, want := range specs {
		wanted := resource.Present
		if i%2 == 1 {
			wanted = resource.Absent
		}
		if got := s.See(t, want.ID).Presence; got != wanted {
			t.Errorf("%s is %v, want %v", want.ID, got, wanted)
		}
	}
}

func madeAgain(t *testing.T, s Setup) {
	want := s.Spec(t)
	first := put(t, s, want)
	if err := s.Fresh(t).Delete(t.Context(), want.ID, terms(first)); err != nil {
		t.Fatal(err)
	}
	second := put(t, s, want)
	if uid(second) == uid(first) {
		t.Fatalf("made again, it has the same UID %q", uid(second))
	}
	if err := s.Fresh(t).Delete(t.Context(), want.ID, terms(first)); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("Delete of the first one = %v, want ErrMoved", err)
	}
	if got := s.See(t, want.ID); uid(got) != uid(second) {
		t.Errorf("the second one, %q, is now %v %q", uid(second), got.Presence, uid(got))
	}
}

func put(t *testing.T, s Setup, want resource.Spec) resource.Sighting {
	t.Helper()
	got, err := s.Fresh(t).Put(t.Context(), want, resource.Terms{})
	if err != nil {
		t.Fatalf("Put %s: %v", want.ID, err)
	}
	return got
}

// same fails the test when what is there is not what was there before.
func same(t *testing.T, s Setup, id resource.ID, before resource.Sighting) {
	t.Helper()
	now := s.See(t, id)
	if now.Presence != before.Presence || terms(now).UID != terms(before).UID || terms(now).ResourceVersion != terms(before).ResourceVersion {
		t.Errorf("%s was %v %q at %q, and is %v %q at %q", id,
			before.Presence, terms(before).UID, terms(before).ResourceVersion,
			now.Presence, terms(now).UID, terms(now).ResourceVersion)
	}
}

func absent(t *testing.T, s Setup, id resource.ID) {
	t.Helper()
	if got := s.See(t, id).Presence; got != resource.Absent {
		t.Errorf("%s is %v, want absent", id, got)
	}
}

func uid(s resource.Sighting) string { return terms(s).UID }

// terms gives the terms of a write to exactly what was seen.
func terms(s resource.Sighting) resource.Terms {
	switch {
	case s.Object != nil:
		return resource.Terms{UID: s.Object.UID, ResourceVersion: s.Object.ResourceVersion}
	case s.Gateway != nil:
		return resource.Terms{UID: s.Gateway.Identity.Instance}
	}
	return resource.Terms{}
}
