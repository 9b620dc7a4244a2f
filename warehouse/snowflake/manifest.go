package snowflake

import "fmt"

// manifest is what Snowflake declared of a result when the query had run. The
// driver tells it then and never again: a result that is fetched by its query
// id comes without.
type manifest struct {
	rows  int64
	parts []int64 // rows of each part, the one that came with the answer first
}

func newManifest(rows int64, parts []source) manifest {
	m := manifest{rows: rows}
	for _, part := range parts {
		m.parts = append(m.parts, part.rows())
	}
	return m
}

// problem tells why no parts could be the whole result, or nothing. The driver
// takes for the first part's rows what the others leave over, so that a part
// which is missing from the list shows there.
func (m manifest) problem() string {
	var sum int64
	for _, rows := range m.parts {
		if rows < 0 {
			return fmt.Sprintf("Snowflake declared %d rows, and parts of them that have %d more", m.rows, -rows)
		}
		sum += rows
	}
	if sum != m.rows {
		return fmt.Sprintf("Snowflake declared %d rows, and parts of them that have %d", m.rows, sum)
	}
	return ""
}
