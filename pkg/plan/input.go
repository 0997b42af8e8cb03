package plan

import (
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An Input is all that a plan rests on.
type Input struct {
	Now    time.Time
	Site   string
	Here   string // the site, where commands in texts have to name it
	Want   *Set   // what the file declares; nil: the accepted set holds, as in converge
	Memory Memory
	World  resource.World
	Policy Policy
}

// A Memory is what the site remembers, beside what the file says. The zero
// Memory is a site that never ran.
type Memory struct {
	Accepted *Accepted // nil: nothing accepted here
	Marks    offer.Marks

	// Made tells which cluster objects are known to have been there as ours,
	// by their last UID. An accepted object that was never made is unfinished
	// work; one that was made and is absent was lost or deleted.
	Made map[resource.ID]string

	// Unfinished are the resources that a run announced to change and is not
	// known to have changed.
	Unfinished map[resource.ID]bool

	ClusterUID string // of kube-system, when the site last wrote there
	Kubeconfig string // that were accepted
	Context    string
	Serial     int64  // of the last run that changed the cluster
	Holder     string // whose state this is
	BootID     string // of the last run
}

// A Policy is how much a run may do by itself.
type Policy struct {
	Mode     Mode
	Approve  map[Class]bool // --approve, with AutoApprove
	TakeOver bool           // --take-over
	Destroy  bool           // the whole site is to go
	Targets  []offer.Key    // nil: all
	Declined []offer.Key    // offers whose decisions a person said no to
	Undrain  []offer.Key    // offers that a person typed to sell again
}

// A Mode is who is there to agree.
type Mode uint8

// The modes. The zero Mode may do the least.
const (
	Unattended  Mode = iota // converge
	AutoApprove             // apply --auto-approve
	Attended                // apply with somebody there, and plan
)
