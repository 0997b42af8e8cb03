package applytest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Maker keeps resources of any home in memory. The zero value has none. It
// keeps the contract of [apply.Maker] but where Fails says otherwise.
type Maker struct {
	// Fails holds what Put and Delete of an ID give instead of doing anything.
	// It must not change while the maker is in use.
	Fails map[resource.ID]error

	mu     sync.Mutex
	have   map[resource.ID]*entry
	serial int
	writes []string
}

var _ apply.Maker = (*Maker)(nil)

// An entry is one resource: what it was told to be, and which one it is.
type entry struct {
	want    resource.Spec
	ours    bool
	uid     string
	version string
}

// Plant puts the resource there as somebody else would: without our mark. It
// replaces what was there.
func (m *Maker) Plant(want resource.Spec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.make(want, false)
}

// See tells what is there: Present or Absent, never Unknown.
func (m *Maker) See(id resource.ID) resource.Sighting {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.have[id].sighting()
}

// Have lists what is there, sorted.
func (m *Maker) Have() []resource.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.have), resource.ID.Compare)
}

// Writes lists what changed something, in order: "put ID" or "delete ID".
func (m *Maker) Writes() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.writes)
}

// Put implements [apply.Maker].
func (m *Maker) Put(ctx context.Context, want resource.Spec, terms resource.Terms) (resource.Sighting, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := want.ID
	if err := m.refuses(ctx, id); err != nil {
		return resource.Sighting{}, err
	}
	e := m.have[id]
	switch {
	case terms.UID == "" && e == nil:
		e = m.make(want, true)
		m.writes = append(m.writes, "put "+id.String())
	case terms.UID == "" && !e.ours:
		return resource.Sighting{}, fmt.Errorf("%s: %w", id, resource.ErrNotOurs)
	case terms.UID == "" && e.want.Digest() != want.Digest():
		return resource.Sighting{}, fmt.Errorf("%s is not what it should be: %w", id, resource.ErrMoved)
	case terms.UID == "": // an earlier call's success
	case e == nil, e.uid != terms.UID, terms.ResourceVersion != "" && terms.ResourceVersion != e.version:
		return resource.Sighting{}, fmt.Errorf("%s: %w", id, resource.ErrMoved)
	default:
		m.change(e, want, terms)
		m.writes = append(m.writes, "put "+id.String())
	}
	return e.sighting(), nil
}

// Delete implements [apply.Maker].
func (m *Maker) Delete(ctx context.Context, id resource.ID, terms resource.Terms) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuses(ctx, id); err != nil {
		return err
	}
	e := m.have[id]
	switch {
	case e == nil:
		return nil
	case terms.UID == "" && !e.ours:
		return fmt.Errorf("%s: %w", id, resource.ErrNotOurs)
	case terms.UID != "" && e.uid != terms.UID:
		return fmt.Errorf("%s: %w", id, resource.ErrMoved)
	}
	delete(m.have, id)
	m.writes = append(m.writes, "delete "+id.String())
	return nil
}

func (m *Maker) refuses(ctx context.Context, id resource.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.Fails[id]
}

func (m *Maker) make(want resource.Spec, ours bool) *entry {
	if m.have == nil {
		m.have = map[resource.ID]*entry{}
	}
	e := &entry{want: copied(want), ours: ours, uid: "uid-" + m.next()}
	e.version = m.next()
	m.have[want.ID] = e
	return e
}

func (m *Maker) change(e *entry, want resource.Spec, terms resource.Terms) {
	e.version = m.next()
	switch {
	case terms.Unmark:
		e.ours = false
	case len(terms.Clear) > 0:
		for _, path := range terms.Clear {
			remove(e.want.Object, strings.Split(path, "."))
		}
	default:
		e.want, e.ours = copied(want), true
		if want.Gateway != nil {
			e.uid = "uid-" + m.next() // another process
		}
	}
}

func (m *Maker) next() string {
	m.serial++
	return fmt.Sprint(m.serial)
}

func (e *entry) sighting() resource.Sighting {
	if e == nil {
		return resource.Sighting{Presence: resource.Absent}
	}
	s := resource.Sighting{Presence: resource.Present}
	if g := e.want.Gateway; g != nil {
		id := resource.Identity{Instance: e.uid, Digest: g.Digest()}
		s.Gateway = &resource.Running{State: resource.GatewayRunning, Supervisor: "detached", Identity: id, Answering: true, Healthy: true}
		if e.ours {
			s.Gateway.Record = &id
		}
		return s
	}
	content := copied(e.want).Object
	meta := child(content, "metadata")
	meta["uid"], meta["resourceVersion"] = e.uid, e.version
	labels := child(meta, "labels")
	switch {
	case !e.ours:
		delete(labels, resource.SiteLabel)
	case labels[resource.SiteLabel] == nil:
		labels[resource.SiteLabel] = "default"
	}
	s.Object = &resource.Object{UID: e.uid, ResourceVersion: e.version, Content: content}
	return s
}

// copied gives a spec that shares no map with s.
func copied(s resource.Spec) resource.Spec {
	if s.Object == nil {
		return s
	}
	b, err := json.Marshal(s.Object)
	if err != nil {
		panic("applytest: cannot marshal an object: " + err.Error()) // only JSON values get here
	}
	s.Object = nil
	if err := json.Unmarshal(b, &s.Object); err != nil {
		panic("applytest: cannot read an object back: " + err.Error())
	}
	return s
}

func child(m map[string]any, key string) map[string]any {
	c, ok := m[key].(map[string]any)
	if !ok {
		c = map[string]any{}
		m[key] = c
	}
	return c
}

func remove(m map[string]any, path []string) {
	for _, key := range path[:len(path)-1] {
		m, _ = m[key].(map[string]any)
	}
	delete(m, path[len(path)-1])
}
