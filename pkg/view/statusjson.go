package view

import (
	"io"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// StatusJSON writes how every offer stands as one JSON document; outside is what
// buyers see of them, as far as that was asked.
func StatusJSON(w io.Writer, r plan.Report, outside map[offer.Key]Outside) error {
	doc := statusDoc{
		FormatVersion: formatVersion, Site: r.Site, Cluster: clusterOf(r.Cluster), LastBoot: moment(r.LastBoot),
		Offers: []offerDoc{}, Decisions: []decisionDoc{},
	}
	if at := moment(r.LastConverge.At); at != nil {
		doc.LastConverge = &runDoc{*at, r.LastConverge.Exit}
	}
	if a := r.Accepted; a != nil {
		doc.Accepted = acceptedOf(*a)
	}
	for _, o := range r.Offers {
		one := offerOf(o, r.Cluster.PublicURL)
		if seen, asked := outside[o.Key]; asked {
			one.Outside = outsideOf(seen)
		}
		doc.Offers = append(doc.Offers, one)
	}
	for _, c := range r.Decisions {
		doc.Decisions = append(doc.Decisions, decisionDoc{name(c.Address, c.Key), c.Class, c.Cause, c.Why, orNull(c.Next)})
	}
	return document(w, doc)
}

type statusDoc struct {
	FormatVersion string        `json:"format_version"`
	Site          string        `json:"site"`
	Cluster       clusterDoc    `json:"cluster"`
	LastBoot      *time.Time    `json:"last_boot"`
	LastConverge  *runDoc       `json:"last_converge"`
	Accepted      *acceptedDoc  `json:"accepted"`
	Offers        []offerDoc    `json:"offers"`
	Decisions     []decisionDoc `json:"decisions"`
}

type runDoc struct {
	Time time.Time `json:"time"`
	Exit int       `json:"exit"`
}

type acceptedDoc struct {
	Number int       `json:"number"`
	Commit *string   `json:"commit"`
	Dirty  bool      `json:"dirty"` // the set is not as the commit has it
	Time   time.Time `json:"time"`
}

func acceptedOf(a plan.Accepted) *acceptedDoc {
	return &acceptedDoc{a.Number, orNull(a.Set.Source.GitCommit), a.Set.Source.GitDirty, a.At.UTC()}
}

type decisionDoc struct {
	Address string     `json:"address"`
	Class   plan.Class `json:"class"`
	Cause   plan.Cause `json:"cause"`
	Why     string     `json:"why"`
	Next    *string    `json:"next"`
}

type offerDoc struct {
	Address    string           `json:"address"`
	Type       string           `json:"type"`
	Namespace  string           `json:"namespace"`
	Name       string           `json:"name"`
	Declared   bool             `json:"declared"`
	Accepted   bool             `json:"accepted"`
	Live       string           `json:"live"`
	Ready      *bool            `json:"ready"`
	Sellable   *bool            `json:"sellable"`
	Conditions []plan.Condition `json:"conditions"`
	Drained    *drainDoc        `json:"drained"`
	Tombstone  *tombstoneDoc    `json:"tombstone"`
	Price      *price           `json:"price"`
	Gateway    *gatewayDoc      `json:"gateway"`
	Upstream   *upstreamDoc     `json:"upstream"` // null: a gateway asks it, or what is made beside the offer is not up yet
	Drift      []driftDoc       `json:"drift"`
	Outside    *outsideDoc      `json:"outside"` // null: buyers were not asked for
}

type outsideDoc struct {
	Catalog *probedURLDoc  `json:"catalog"`
	URLs    []probedURLDoc `json:"urls"`
}

func outsideOf(seen Outside) *outsideDoc {
	doc := &outsideDoc{URLs: answersOf(seen.URLs)}
	if seen.Catalog != nil {
		catalog := probedURLOf(*seen.Catalog)
		doc.Catalog = &catalog
	}
	return doc
}

type drainDoc struct {
	Origin offer.Origin `json:"origin"`
	By     string       `json:"by"`
	At     time.Time    `json:"at"`
	EndsAt time.Time    `json:"ends_at"`
	Reason string       `json:"reason"`

	InForce bool `json:"in_force"` // false: it is live, and this does not hold it
}

type tombstoneDoc struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	UID    *string   `json:"uid"`
	Reason string    `json:"reason"`
}

type driftDoc struct {
	Path      string     `json:"path"`
	Accepted  any        `json:"accepted"`
	Live      any        `json:"live"`
	Writer    *string    `json:"writer"`
	WrittenAt *time.Time `json:"written_at"`
	Class     plan.Class `json:"class"`
}

func offerOf(o plan.OfferStatus, public string) offerDoc {
	doc := offerDoc{
		Address: name(o.Address, o.Key), Type: string(o.Key.Type), Namespace: o.Key.Namespace, Name: o.Key.Name,
		Declared: o.Declared, Accepted: o.Accepted, Live: o.Live.String(), Ready: o.Ready, Sellable: o.Sellable,
		Conditions: list(o.Conditions), Price: priceOf(o.Offer, public), Gateway: gatewayOf(o.Gateway), Drift: []driftDoc{},
	}
	if u := o.Upstream; u != nil {
		doc.Upstream = &upstreamDoc{u.Namespace, u.Name, known(u.Ready), orNull(u.Why)}
	}
	if d := o.Drain; d != nil {
		doc.Drained = &drainDoc{d.Origin, d.By, d.At.UTC(), d.EndsAt().UTC(), d.Reason, !o.Loose}
	}
	if t := o.Tombstone; t != nil {
		doc.Tombstone = &tombstoneDoc{t.By, t.At.UTC(), orNull(t.UID), t.Reason}
	}
	for _, d := range o.Drift {
		doc.Drift = append(doc.Drift, driftDoc{d.Path, d.After, d.Before, orNull(d.Writer), moment(d.WrittenAt), d.Class})
	}
	return doc
}

type upstreamDoc struct {
	Namespace string  `json:"namespace"` // of the Service
	Service   string  `json:"service"`
	Ready     *bool   `json:"ready"` // null: nobody knows
	Why       *string `json:"why"`
}

// known is whether something is there; null when nobody knows.
func known(p resource.Presence) *bool {
	is := p == resource.Present
	if p == resource.Unknown {
		return nil
	}
	return &is
}

type gatewayDoc struct {
	State      resource.GatewayState `json:"state"`
	Supervisor string                `json:"supervisor"`
	PID        *int                  `json:"pid"`
	Listen     []string              `json:"listen"`
	Healthy    bool                  `json:"healthy"`
	Since      *time.Time            `json:"since"`
	Restarts   int                   `json:"restarts"`
	Version    *string               `json:"version"`
	LastExit   *exitDoc              `json:"last_exit"`
}

type exitDoc struct {
	Code   int        `json:"code"`
	Signal *string    `json:"signal"`
	OOM    bool       `json:"oom"`
	At     *time.Time `json:"at"`
}

func gatewayOf(g *resource.Running) *gatewayDoc {
	if g == nil {
		return nil
	}
	doc := &gatewayDoc{
		State: gatewayState(g), Supervisor: g.Supervisor, Listen: list(g.Listen), Healthy: g.Healthy,
		Since: moment(g.Identity.Started), Restarts: g.Restarts, Version: orNull(g.Identity.Version),
	}
	if g.Identity.PID != 0 {
		doc.PID = &g.Identity.PID
	}
	if x := g.Last; x != nil {
		doc.LastExit = &exitDoc{x.Code, orNull(x.Signal), x.OOM, moment(x.At)}
	}
	return doc
}
