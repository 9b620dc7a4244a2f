package sigmaclient_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// mixed is an organization whose elements reach their connections in every way
// that lineage has.
func mixed(references sigmatest.References) sigmatest.Organization {
	of := func(kind sigmatest.SourceKind) sigmatest.Source { return sigmatest.Source{Kind: kind} }
	return sigmatest.Organization{
		References:  references,
		Connections: []sigmatest.Connection{{ID: "snow", Name: "Snowflake"}, {ID: "red", Name: "Redshift", Type: "redshift"}},
		DataModels: []sigmatest.DataModel{
			{Name: "Red", Connection: "red", Elements: []sigmatest.Element{{Name: "Table"}, {Name: "Text", CustomSQL: "select 'in a model'"}}},
			{Name: "Mixed", Elements: []sigmatest.Element{{Name: "On snow"}, {Name: "On red", Connection: "red"}}},
			{Name: "On red", Elements: []sigmatest.Element{{Name: "Passed on", DataModel: "Red", DataModelElement: "Table"}}},
			{Name: "Three deep", Elements: []sigmatest.Element{{Name: "Passed on twice", DataModel: "On red"}}},
			{Name: "Empty"},
		},
		Workbooks: []sigmatest.Workbook{{Name: "All", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{Name: "table"},
			{Name: "red table", Connection: "red"},
			{Name: "joined", Tables: []string{"DB.S.A", "DB.S.B"}},
			{Name: "text", CustomSQL: "select 1", Connection: "red"},
			{Name: "chained", Elements: []string{"text"}},
			{Name: "chained twice", Elements: []string{"chained"}},
			{Name: "across", Elements: []string{"table", "red table"}},
			{Name: "above across", Elements: []string{"across"}},
			{Name: "model", DataModel: "Red"},
			{Name: "text in a model", DataModel: "Red", DataModelElement: "Text"},
			{Name: "one side of a mixed model", DataModel: "Mixed", DataModelElement: "On red"},
			{Name: "some side of a mixed model", DataModel: "Mixed"},
			{Name: "model on a model", DataModel: "On red", DataModelElement: "Passed on"},
			{Name: "model on models", DataModel: "Three deep"},
			{Name: "empty model", DataModel: "Empty"},
			{Name: "upload", Source: of(sigmatest.CSVUpload), Connection: "red"},
			{Name: "semantic view", Source: of(sigmatest.SemanticView), Connection: "red"},
			{Name: "document", Source: of(sigmatest.SQLDocument), Connection: "red"},
			{Name: "worksheet", Source: of(sigmatest.Worksheet), Connection: "red"},
			{Name: "dataset", Source: of(sigmatest.Dataset), Connection: "red"},
			{Name: "not told", Source: sigmatest.Source{Kind: sigmatest.Dataset, Untold: true}},
			{Name: "lost", Refusal: sigmatest.WithNothing},
		}}}}},
	}
}

// provenances finds what each element of a workbook reads from, by the names of
// elements.
func provenances(t *testing.T, s *sigma, finder *sigmaclient.ConnectionFinder, workbook string) map[string]sigmaclient.Provenance {
	t.Helper()
	org := s.Organization()
	w := org.Workbook(workbook)
	document := s.client(t).WorkbookDocument(w.ID, "")
	lineage := must(document.Lineage(t.Context()))(t)
	var sources []sigmaclient.Source
	if sigmaclient.LineageNeedsSources(lineage) {
		sources = must(document.Sources(t.Context()))(t)
	}
	found := must(finder.Find(t.Context(), lineage, sources))(t)
	byName := map[string]sigmaclient.Provenance{}
	for _, p := range w.Pages {
		for _, e := range p.Elements {
			byName[e.Name] = found[e.ID]
		}
	}
	return byName
}

func known(connection string, customSQL ...string) sigmaclient.Provenance {
	return sigmaclient.Provenance{Status: sigmaclient.ConnectionKnown, ConnectionID: connection, Connections: []string{connection}, CustomSQL: customSQL}
}

var (
	onBoth     = sigmaclient.Provenance{Status: sigmaclient.SeveralConnections, Connections: []string{"red", "snow"}}
	emptyIsNil = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(sigmaclient.Provenance{}, "Upstream")}
)

func TestConnectionIsFoundUnderEveryReference(t *testing.T) {
	for name, references := range map[string]sigmatest.References{
		"live": sigmatest.Live, "plain ids": sigmatest.PlainIDs, "prefixed ids": sigmatest.PrefixedIDs,
		"upper-case ids": sigmatest.UpperCaseIDs, "source ids alone": sigmatest.OnlySourceIDs,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigma(t, mixed(references))
			want := map[string]sigmaclient.Provenance{
				"table": known("snow"), "red table": known("red"), "joined": known("snow"),
				"text": known("red", "select 1"), "chained": known("red", "select 1"), "chained twice": known("red", "select 1"),
				"across": onBoth, "above across": onBoth,
				"model": known("red", "select 'in a model'"), "text in a model": known("red", "select 'in a model'"),
				"one side of a mixed model": known("red"), "some side of a mixed model": onBoth,
				"model on a model": known("red"), "model on models": known("red"),
				"empty model": {Status: sigmaclient.NoSources},
				"upload":      known("red"), "semantic view": known("red"), "document": known("red"), "worksheet": known("red"), "dataset": known("red"),
				"not told": {Status: sigmaclient.ConnectionNotSent},
				"lost":     {Status: sigmaclient.NoSources},
			}
			if references == sigmatest.PlainIDs { // which do not name the element of a data model
				want["one side of a mixed model"] = onBoth
				want["model on a model"], want["model on models"] = known("red", "select 'in a model'"), known("red", "select 'in a model'")
			}
			finder := s.client(t).ConnectionFinder()
			for pass := range 2 {
				got := provenances(t, s, finder, "All")
				if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
					t.Errorf("pass %d:\n%s", pass, diff)
				}
			}
			for call, n := range s.Calls() {
				if strings.HasPrefix(call, "GET /v2/dataModels/{dataModelId}/lineage") && n != 5 {
					t.Errorf("%s was called %d times for 5 data models in two passes", call, n)
				}
			}
		})
	}
}

func TestAmbiguousNameIsNoConnection(t *testing.T) {
	text := func(name, connection string) sigmatest.Element {
		return sigmatest.Element{Name: name + " on " + connection, CustomSQL: "select '" + name + connection + "'", CustomSQLName: name, Connection: connection}
	}
	org := mixed(sigmatest.Live)
	org.DataModels = []sigmatest.DataModel{{Name: "Ambiguous", Elements: []sigmatest.Element{text("Custom SQL", "snow"), text("Custom SQL", "red")}}}
	org.Workbooks = []sigmatest.Workbook{{Name: "All", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
		text("Custom SQL", "snow"), text("Custom SQL", "red"),
		text("Same", "red"), {Name: "Same again", CustomSQL: "select 2", CustomSQLName: "Same", Connection: "red"},
		text("Only one", "red"),
		{Name: "above", Elements: []string{"Custom SQL on red", "Only one on red"}},
		{Name: "model", DataModel: "Ambiguous"},
		{Name: "one of the model", DataModel: "Ambiguous", DataModelElement: "Custom SQL on red"},
	}}}}}
	s := newSigma(t, org)
	got := map[string]string{}
	for name, p := range provenances(t, s, s.client(t).ConnectionFinder(), "All") {
		got[name] = p.ConnectionID
		if p.ConnectionID == "" && p.Status != sigmaclient.AmbiguousSource {
			t.Errorf("%s: %v", name, p.Status)
		}
		if strings.HasPrefix(name, "Custom SQL") && len(p.CustomSQL) != 2 {
			t.Errorf("%s can be any of two texts: %q", name, p.CustomSQL)
		}
	}
	want := map[string]string{"Same on red": "red", "Same again": "red", "Only one on red": "red",
		"Custom SQL on snow": "", "Custom SQL on red": "", "above": "", "model": "", "one of the model": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// The ids of custom SQL, which the sources have, are not ambiguous.
	org.References = sigmatest.PlainIDs
	s = newSigma(t, org)
	byID := provenances(t, s, s.client(t).ConnectionFinder(), "All")
	if byID["Custom SQL on snow"].ConnectionID != "snow" || byID["Custom SQL on red"].ConnectionID != "red" {
		t.Errorf("by id: %+v", byID)
	}
}

func TestUnknownSourceNeverGivesAConnection(t *testing.T) {
	s := newSigma(t, small())
	table := func(id, connection string) sigmaclient.LineageEntry {
		return sigmaclient.LineageEntry{Type: "table", InodeID: id, ConnectionID: connection, Name: "T"}
	}
	text := func(name, connection string) sigmaclient.LineageEntry {
		return sigmaclient.LineageEntry{Type: "customSQL", Name: name, ConnectionID: connection, Definition: "select " + name + connection}
	}
	element := func(sources ...string) sigmaclient.LineageEntry {
		return sigmaclient.LineageEntry{Type: "element", ElementID: "e", DataSourceIDs: sources}
	}
	for name, row := range map[string]struct {
		lineage []sigmaclient.LineageEntry
		want    sigmaclient.ConnectionStatus
	}{
		"a name without a connection":   {[]sigmaclient.LineageEntry{element("Q"), text("Q", "")}, sigmaclient.ConnectionNotSent},
		"one of a name without one":     {[]sigmaclient.LineageEntry{element("Q"), text("Q", ""), text("Q", "c")}, sigmaclient.AmbiguousSource},
		"three of a name":               {[]sigmaclient.LineageEntry{element("Q"), text("Q", "c"), text("Q", "d"), text("Q", "c")}, sigmaclient.AmbiguousSource},
		"ambiguous beside a known one":  {[]sigmaclient.LineageEntry{element("Q", "t"), text("Q", "c"), text("Q", "d"), table("t", "c")}, sigmaclient.AmbiguousSource},
		"one id on two connections":     {[]sigmaclient.LineageEntry{element("t"), table("t", "c"), table("t", "d")}, sigmaclient.AmbiguousSource},
		"one id, once without":          {[]sigmaclient.LineageEntry{element("t"), table("t", "c"), table("t", "")}, sigmaclient.ConnectionKnown},
		"a table by its name":           {[]sigmaclient.LineageEntry{element("T"), table("t", "c")}, sigmaclient.SourceNotFound},
		"an entry that is not there":    {[]sigmaclient.LineageEntry{element("gone")}, sigmaclient.SourceNotFound},
		"another beside a known one":    {[]sigmaclient.LineageEntry{element("gone", "t"), table("t", "c")}, sigmaclient.ConnectionKnown},
		"nothing":                       {[]sigmaclient.LineageEntry{element()}, sigmaclient.NoSources},
		"itself":                        {[]sigmaclient.LineageEntry{element("e")}, sigmaclient.NoSources},
		"no entry":                      {[]sigmaclient.LineageEntry{table("t", "c")}, sigmaclient.NotInLineage},
		"a name of another case":        {[]sigmaclient.LineageEntry{element("q"), text("Q", "c")}, sigmaclient.SourceNotFound},
		"an unknown kind by its name":   {[]sigmaclient.LineageEntry{element("New"), {Type: "hologram", Name: "New", ConnectionID: "c"}}, sigmaclient.ConnectionKnown},
		"custom SQL named with a slash": {[]sigmaclient.LineageEntry{element("a/b"), text("a/b", "c")}, sigmaclient.ConnectionKnown},
		"sourceIds where dataSourceIds lead nowhere": {[]sigmaclient.LineageEntry{
			{Type: "element", ElementID: "e", DataSourceIDs: []string{"gone"}, SourceIDs: []string{"t"}}, table("t", "c")}, sigmaclient.ConnectionKnown},
	} {
		t.Run(name, func(t *testing.T) {
			got := must(s.client(t).ConnectionFinder().Find(t.Context(), row.lineage, nil))(t)["e"]
			if got.Status != row.want || (got.ConnectionID != "") != (row.want == sigmaclient.ConnectionKnown) {
				t.Errorf("%v: %+v, want %v", got.Status, got, row.want)
			}
		})
	}
}

func TestRefusedDataModelConcernsItsElementsAlone(t *testing.T) {
	for _, failure := range sigmatest.Failures() {
		synctest.Test(t, func(t *testing.T) { // a gateway's failure is retried, with waits
			org := mixed(sigmatest.Live)
			org.DataModels[0].Failures = map[sigmatest.Call]sigmatest.Failure{sigmatest.CallLineage: failure}
			s := newSigma(t, org)
			got := provenances(t, s, s.client(t).ConnectionFinder(), "All")
			for _, name := range []string{"model", "text in a model", "model on a model", "model on models"} {
				p := got[name]
				if p.Status != sigmaclient.DataModelRefused || p.ConnectionID != "" || p.Refusal == nil ||
					p.Refusal.Status != failure.Status || p.Refusal.Code != failure.Code || (p.Refusal.RequestID == "") != (failure.Code == "") {
					t.Errorf("%d %s: %s: %v: %+v", failure.Status, failure.Code, name, p.Status, p)
				}
			}
			if got["table"].ConnectionID != "snow" || got["one side of a mixed model"].ConnectionID != "red" {
				t.Errorf("%d %s: others: %+v", failure.Status, failure.Code, got)
			}
		})
	}
}

// A workbook's element on some element of a model can be on the one that Sigma
// does not tell about.
func TestWholeDataModelIsKnownOnlyIfAllItsElementsAre(t *testing.T) {
	org := mixed(sigmatest.Live)
	org.DataModels = append(org.DataModels, sigmatest.DataModel{Name: "Half", Elements: []sigmatest.Element{
		{Name: "Known"}, {Name: "Unknown", DataModel: "99999999-0000-4000-8000-000000000000"},
	}})
	org.Workbooks[0].Pages[0].Elements = []sigmatest.Element{{Name: "some", DataModel: "Half"}, {Name: "one", DataModel: "Half", DataModelElement: "Known"}}
	s := newSigma(t, org)
	got := provenances(t, s, s.client(t).ConnectionFinder(), "All")
	if got["one"].ConnectionID != "snow" || got["some"].Status != sigmaclient.DataModelRefused || got["some"].ConnectionID != "" {
		t.Errorf("%+v", got)
	}
}

func TestRefusedCredentialsEndTheSearch(t *testing.T) {
	s := newSigma(t, mixed(sigmatest.Live))
	client, id := s.client(t), s.Organization().Workbooks[0].ID
	lineage := must(client.Lineage(t.Context(), id))(t)
	s.SetFaults(sigmatest.CallLineage.On(sigmatest.Fail(401, "unauthorized", "No")))
	_, err := client.ConnectionFinder().Find(t.Context(), lineage, nil)
	failure(t, err, sigmaclient.KindCredentials)
}

// Cycles, chains and fans as long as no recursion and no repeated work bears.
func TestLargeAndCircularLineage(t *testing.T) {
	const n = 50_000
	table := sigmaclient.LineageEntry{Type: "table", InodeID: "t", ConnectionID: "c"}
	element := func(i int, sources ...string) sigmaclient.LineageEntry {
		return sigmaclient.LineageEntry{Type: "element", ElementID: fmt.Sprint("e", i), SourceIDs: sources}
	}
	chain := []sigmaclient.LineageEntry{element(0, "t")}
	for i := 1; i < n; i++ {
		chain = append(chain, element(i, fmt.Sprint("e", i-1)))
	}
	backwards := slices.Clone(chain)
	slices.Reverse(backwards)
	ring := slices.Clone(chain)
	ring[0] = element(0, fmt.Sprint("e", n-1), "t")
	texts := slices.Clone(chain)
	for i := range texts {
		name := fmt.Sprint("q", i)
		texts[i].SourceIDs = append(slices.Clone(texts[i].SourceIDs), name)
		texts = append(texts, sigmaclient.LineageEntry{Type: "customSQL", Name: name, Definition: name, ConnectionID: fmt.Sprint("c", i%20)})
	}
	s := newSigma(t, small())
	for name, lineage := range map[string][]sigmaclient.LineageEntry{"chain": chain, "backwards": backwards, "ring": ring} {
		got := must(s.client(t).ConnectionFinder().Find(t.Context(), append(slices.Clone(lineage), table), nil))(t)
		for id, p := range got {
			if p.ConnectionID != "c" {
				t.Fatalf("%s: %s: %+v", name, id, p)
			}
		}
		if len(got) != n {
			t.Errorf("%s: %d elements", name, len(got))
		}
	}
	last := must(s.client(t).ConnectionFinder().Find(t.Context(), texts, nil))(t)[fmt.Sprint("e", n-1)]
	if last.Status != sigmaclient.SeveralConnections || len(last.Connections) != 8 || len(last.CustomSQL) != 64 || !last.CustomSQLTruncated {
		t.Errorf("%v: %d connections, %d texts, truncated %v", last.Status, len(last.Connections), len(last.CustomSQL), last.CustomSQLTruncated)
	}
}

func TestDataModelsInCyclesAndLongChains(t *testing.T) {
	chain := func(n int, first sigmatest.Element) sigmatest.Organization {
		org := sigmatest.Organization{Connections: []sigmatest.Connection{{ID: "snow", Name: "Snowflake"}}}
		first.Name = "Passed on"
		for i := range n {
			element := first
			if i > 0 {
				element = sigmatest.Element{Name: "Passed on", DataModel: fmt.Sprint("Model ", i-1), DataModelElement: "Passed on"}
			}
			org.DataModels = append(org.DataModels, sigmatest.DataModel{Name: fmt.Sprint("Model ", i), ID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1), Elements: []sigmatest.Element{element}})
		}
		org.Workbooks = []sigmatest.Workbook{{Name: "All", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{Name: "top", DataModel: fmt.Sprint("Model ", n-1)}, {Name: "table"}, {Name: "bottom", DataModel: "Model 0"}}}}}}
		return org
	}
	for name, row := range map[string]struct {
		org         sigmatest.Organization
		top, bottom sigmaclient.ConnectionStatus
		calls       int
	}{
		"12":        {chain(12, sigmatest.Element{}), sigmaclient.ConnectionKnown, sigmaclient.ConnectionKnown, 12},
		"100":       {chain(100, sigmatest.Element{}), sigmaclient.ConnectionKnown, sigmaclient.ConnectionKnown, 100},
		"150":       {chain(150, sigmatest.Element{}), sigmaclient.DataModelTooDeep, sigmaclient.ConnectionKnown, 100},
		"cycle":     {chain(5, sigmatest.Element{DataModel: "Model 4"}), sigmaclient.NoSources, sigmaclient.NoSources, 5},
		"on itself": {chain(1, sigmatest.Element{DataModel: "Model 0", DataModelElement: "Passed on"}), sigmaclient.NoSources, sigmaclient.NoSources, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigma(t, row.org)
			got := provenances(t, s, s.client(t).ConnectionFinder(), "All")
			if got["top"].Status != row.top || got["bottom"].Status != row.bottom || got["table"].Status != sigmaclient.ConnectionKnown {
				t.Errorf("%+v", got)
			}
			if n := s.Calls()["GET /v2/dataModels/{dataModelId}/lineage"]; n != row.calls {
				t.Errorf("%d data models were read, want %d", n, row.calls)
			}
		})
	}
}

func TestURLIDIsTheUUIDInBase62(t *testing.T) {
	for uuid, url := range map[string]string{
		"3b9aca00-1111-4222-8333-444455556666": "1OthJJINXdZJdJoNgpV0qi",
		"ffffffff-ffff-ffff-ffff-ffffffffffff": "7N42dgm5tFLK9N8MT7fHC7",
		"00000000-0000-4000-8000-000000000001": sigmaclient.URLID("00000000-0000-4000-8000-000000000001"),
	} {
		if got := sigmaclient.CanonicalID(url); got != sigmaclient.CanonicalID(uuid) || got != strings.ReplaceAll(uuid, "-", "") {
			t.Errorf("%s is %s, and %s is %s", url, got, uuid, sigmaclient.CanonicalID(uuid))
		}
	}
	for _, other := range []string{"", "0", "inode-", "ORDERS AND MORE", "8888888888888888888888", "3b9aca00-1111-4222-8333-44445555666g", "Custom SQL", "inode-Custom SQL"} {
		if got := sigmaclient.CanonicalID(other); got != other {
			t.Errorf("%q is no number, and becomes %q", other, got)
		}
	}
}

// TestEverySpellingOfAnIDIsTheSame is a law, and two ids are never the same.
func TestEverySpellingOfAnIDIsTheSame(t *testing.T) {
	uuid := rapid.Custom(func(t *rapid.T) string {
		h := rapid.StringMatching(`0{0,6}[0-9a-f]{26}`).Draw(t, "digits") + "000000"
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32]
	})
	spell := func(t *rapid.T, id string) string {
		prefix := rapid.SampledFrom([]string{"", "inode-"}).Draw(t, "prefix")
		return prefix + rapid.SampledFrom([]string{id, strings.ToUpper(id), sigmaclient.URLID(id)}).Draw(t, "spelling")
	}
	rapid.Check(t, func(t *rapid.T) {
		one, two := uuid.Draw(t, "one"), uuid.Draw(t, "two")
		a, b := sigmaclient.CanonicalID(spell(t, one)), sigmaclient.CanonicalID(spell(t, two))
		if (a == b) != (one == two) || a != sigmaclient.CanonicalID(spell(t, one)) {
			t.Fatalf("%s is %s, %s is %s", one, a, two, b)
		}
	})
}
