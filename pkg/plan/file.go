package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// fileVersion is the version of plan files that this build writes and reads.
const fileVersion = 1

// A File is a plan that was saved to be carried out later, with digests of what
// it rests on.
type File struct {
	Version int               `json:"obolctl_plan"`
	By      string            `json:"obolctl_version"`
	Want    Set               `json:"want"`
	Policy  Policy            `json:"policy"`
	Consent Consent           `json:"consent"`
	Plan    Plan              `json:"plan"`
	Basis   map[string]string `json:"basis"`
}

// Save gives the file of a plan.
func Save(in Input, p Plan, c Consent, version string) ([]byte, error) {
	b, err := json.Marshal(File{Version: fileVersion, By: version, Want: *in.Want, Policy: in.Policy, Consent: c, Plan: p, Basis: Basis(in)})
	if err != nil {
		return nil, fmt.Errorf("cannot save the plan: %w", err)
	}
	return b, nil
}

// Open reads the file of a plan. It refuses another version by name.
func Open(data []byte) (File, error) {
	var f File
	if err := json.Unmarshal(data, &f); err != nil {
		return File{}, fmt.Errorf("this is not a plan file: %v", err)
	}
	if f.Version != fileVersion {
		return File{}, fmt.Errorf("the plan file has version %d, and this build knows %d: plan again", f.Version, fileVersion)
	}
	return f, nil
}

// Moved names what a plan rests on and is no longer as it was, sorted.
func (f File) Moved(in Input) []string {
	now := Basis(in)
	var out []string
	for key, was := range f.Basis {
		if now[key] != was {
			out = append(out, key)
		}
	}
	for key := range now {
		if _, known := f.Basis[key]; !known {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// Basis digests what a plan rests on, by what it is: for each resource its
// fields, UID or gateway identity, never status or resource versions; and the
// cluster, the accepted set, the marks, and who would start gateways where.
func Basis(in Input) map[string]string {
	c := in.World.Cluster
	out := map[string]string{
		"cluster":            c.UID,
		"host address":       hash([]any{c.HostAddress, c.Peers}),
		"version of obolctl": in.World.Host.Version,
		"accepted set":       "",
	}
	for name, digest := range basisOfMarks(in.Memory.Marks) {
		out[name] = digest
	}
	if in.Memory.Accepted != nil {
		out["accepted set"] = fmt.Sprint(in.Memory.Accepted.Number)
	}
	for _, s := range subjects(in) {
		if !in.Policy.Includes(s.key) {
			continue
		}
		for _, kind := range removal {
			if seen, asked := in.World.Seen[s.id(kind)]; asked {
				out[s.id(kind).String()] = basisOf(seen)
			}
		}
		for _, spec := range s.want {
			out[spec.ID.String()] = basisOf(in.World.Seen[spec.ID])
		}
	}
	for name, w := range c.Wallets {
		out["wallet of agent "+name] = hash([]any{w.Agent, w.Keystore, w.Address})
	}
	return out
}

// basisOfMarks leaves out when somebody first looked: a look that may not write
// looks for the first time again and again.
func basisOfMarks(m offer.Marks) map[string]string {
	money, moved, deleted := slices.Clone(m.Money), slices.Clone(m.Moved), slices.Clone(m.Deleted)
	for i := range money {
		money[i].Since = time.Time{}
	}
	for i := range moved {
		moved[i].Since = time.Time{}
	}
	for i := range deleted {
		deleted[i].Since = time.Time{}
	}
	return map[string]string{
		"tombstones": hash(m.Tombstones), "drains": hash(m.Drains), "money decisions": hash(money), "offers of other holders": hash(moved),
		"offers deleted in the cluster": hash(deleted),
	}
}

func basisOf(s resource.Sighting) string {
	switch {
	case s.Presence != resource.Present:
		return s.Presence.String()
	case s.Gateway != nil:
		return hash([]any{s.Gateway.Identity, s.Gateway.Answering})
	}
	o := s.Object
	fields := map[string]any{}
	for k, v := range o.Content {
		if k != "metadata" && k != "status" {
			fields[k] = v
		}
	}
	return hash([]any{o.UID, o.Going, o.Label(resource.SiteLabel), o.Annotation(resource.HolderAnnotation), o.Annotation(resource.AddressAnnotation), fields})
}

// hash digests the JSON form of v, in which map keys are sorted.
func hash(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("plan: cannot marshal: " + err.Error()) // only JSON values get here
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// BasisDigest digests all that a plan rests on.
func BasisDigest(in Input) string { return hash(Basis(in)) }
