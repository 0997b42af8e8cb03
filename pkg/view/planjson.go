package view

import (
	"io"
	"time"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// PlanJSON writes a plan as one JSON document. version is that of obolctl.
func PlanJSON(w io.Writer, p plan.Plan, version string) error {
	doc := planDoc{
		FormatVersion: formatVersion,
		Version:       version,
		Site:          p.Site,
		Source:        sourceOf(p.Source),
		Cluster:       clusterOf(p.Cluster),
		Complete:      p.Complete,
		Summary:       Count(p),
		Unaccepted:    p.Unaccepted,
		Changes:       []changeDoc{},
	}
	for _, c := range p.Changes {
		doc.Changes = append(doc.Changes, changeOf(c, p.Cluster.PublicURL))
	}
	return document(w, doc)
}

type planDoc struct {
	FormatVersion string      `json:"format_version"`
	Version       string      `json:"obolctl_version"`
	Site          string      `json:"site"`
	Source        sourceDoc   `json:"source"`
	Cluster       clusterDoc  `json:"cluster"`
	Complete      bool        `json:"complete"`
	Summary       Counts      `json:"summary"`
	Unaccepted    int         `json:"unaccepted"` // offers and tombstones that need nothing but to be accepted
	Changes       []changeDoc `json:"changes"`
}

type sourceDoc struct {
	Path      string  `json:"path"`
	SHA256    string  `json:"sha256"`
	GitCommit *string `json:"git_commit"`
	GitDirty  bool    `json:"git_dirty"`
}

func sourceOf(s plan.Source) sourceDoc {
	return sourceDoc{s.Path, s.SHA256, orNull(s.GitCommit), s.GitDirty}
}

type clusterDoc struct {
	Contacted bool    `json:"contacted"`
	Reachable bool    `json:"reachable"`
	Server    *string `json:"server"`
	Version   *string `json:"version"`
	UID       *string `json:"uid"`
}

func clusterOf(c resource.ClusterSighting) clusterDoc {
	return clusterDoc{c.Contacted, c.Reachable, orNull(c.Server), orNull(c.Version), orNull(c.UID)}
}

type changeDoc struct {
	Address    string      `json:"address"`
	Type       string      `json:"type"`
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	Action     plan.Action `json:"action"`
	Class      plan.Class  `json:"class"`
	Cause      plan.Cause  `json:"cause"`
	Why        string      `json:"why"`
	DeclaredAt *string     `json:"declared_at"`
	Withheld   bool        `json:"withheld"`
	Next       *string     `json:"next"`
	Price      *price      `json:"price"`
	Steps      []stepDoc   `json:"steps"`
}

type stepDoc struct {
	ID     string      `json:"id"`
	Action plan.Action `json:"action"`
	Needs  []string    `json:"needs"`
	Fields []fieldDoc  `json:"fields"`

	// Withheld is there only where the step's fate is not its change's.
	Withheld *bool `json:"withheld,omitempty"`
}

type fieldDoc struct {
	Path      string     `json:"path"`
	Before    any        `json:"before"`
	After     any        `json:"after"`
	Writer    *string    `json:"writer"`
	WrittenAt *time.Time `json:"written_at"`
}

func changeOf(c plan.Change, public string) changeDoc {
	doc := changeDoc{
		Address: name(c.Address, c.Key), Type: string(c.Key.Type), Namespace: c.Key.Namespace, Name: c.Key.Name,
		Action: c.Action, Class: c.Class, Cause: c.Cause, Why: c.Why,
		DeclaredAt: orNull(place(c.DeclaredAt)), Withheld: c.Withheld, Next: orNull(c.Next),
		Price: priceOf(c.Offer, public), Steps: []stepDoc{},
	}
	for _, s := range c.Steps {
		step := stepDoc{ID: s.ID.String(), Action: s.Action, Needs: []string{}, Fields: []fieldDoc{}}
		if s.Withheld != c.Withheld {
			step.Withheld = &s.Withheld
		}
		for _, id := range s.Needs {
			step.Needs = append(step.Needs, id.String())
		}
		for _, d := range s.Fields {
			step.Fields = append(step.Fields, fieldDoc{d.Path, d.Before, d.After, orNull(d.Writer), moment(d.WrittenAt)})
		}
		doc.Steps = append(doc.Steps, step)
	}
	return doc
}

// moment is t in UTC, or nil, JSON's null, for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
