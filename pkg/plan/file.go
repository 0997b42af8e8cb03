package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

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
// cluster, the accepted set and the marks.
func Basis(in Input) map[string]string {
	out := map[string]string{
		"cluster":      in.World.Cluster.UID,
		"host address": in.World.Cluster.HostAddress.String(),
		"marks":        hash(in.Memory.Marks),
		"accepted set": "",
	}
	if in.Memory.Accepted != nil {
		out["accepted set"] = fmt.Sprint(in.Memory.Accepted.Number)
	}
	for _, s := range subjects(in) {
		if !in.Policy.Includes(s.key) {
			continue
		}
		ids := []resource.ID{s.id(resource.ServiceOffer), s.id(resource.GatewayKind)}
		for _, spec := range s.want {
			ids = append(ids, spec.ID)
		}
		for _, id := range ids {
			out[id.String()] = basisOf(in.World.Seen[id])
		}
	}
	for name, w := range in.World.Cluster.Wallets {
		out["wallet of "+name] = fmt.Sprint(w.Keystore, " ", w.Address)
	}
	return out
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
	labels, _ := resource.Lookup(o.Content, "metadata.labels")
	return hash([]any{o.UID, o.Going, labels, o.Annotation(resource.HolderAnnotation), fields})
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
