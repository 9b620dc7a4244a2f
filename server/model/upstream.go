package model

import (
	"cmp"
	"slices"

	"github.com/sigmasource/sigmasource/sigmaclient"
)

// SetUpstream sets what is known of the elements that the element builds on. A lineage that Sigma refuses leaves them unknown.
func (e *Element) SetUpstream(upstream sigmaclient.Upstream, lineageErr error) {
	e.UpstreamFormulas, e.UpstreamErr = upstream.Formulas, cmp.Or(lineageErr, upstream.Err)
}

// Controls returns the names of the controls of a document and of the data models that its element builds on, sorted.
func Controls(own []string, upstream sigmaclient.Upstream) []string {
	names := slices.Concat(own, upstream.Controls)
	slices.Sort(names)
	return slices.Compact(names)
}
