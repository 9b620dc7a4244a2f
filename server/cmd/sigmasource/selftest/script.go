package selftest

import (
	"fmt"
	"io"
	"strings"
)

// WriteScript writes what an operator builds before a run, as plain text.
func WriteScript(w io.Writer, workbook string) error {
	var s strings.Builder
	fmt.Fprintf(&s, `This script is for a trial organization of Sigma and a Snowflake account for tests. It takes about an hour, once.

1. In Sigma: Administration, Account, Time zone: set %s.

2. In Snowflake, run these statements. The role of Sigma's connection and the role of this service need USAGE on the
   database and the schema, and SELECT on all tables of the schema.

%s
3. In Sigma, make a workbook with the name %q. Build these elements with exactly these names and
   columns, and publish the workbook. An element that is left out has the result "not built"; all others are tested.
`, Zone, indent(tables(), "     "), workbook)
	for _, element := range elements() {
		if element.Name == "" {
			continue
		}
		fmt.Fprintf(&s, "\n   %q\n", element.Name)
		for _, step := range element.Build {
			if strings.HasPrefix(step, "  ") {
				fmt.Fprintf(&s, "       %s\n", step)
			} else {
				fmt.Fprintf(&s, "     - %s\n", step)
			}
		}
		for _, probe := range element.Probes {
			fmt.Fprintf(&s, "     ? %s\n", probe.Question)
		}
	}
	s.WriteString(`
4. In this service, create a connection with credentials of this organization and this account, with
   "timeZone": "` + Zone + `" in "sigma", and with "database": "SIGMASOURCE_SELFTEST" and "schema": "SELFTEST" in
   "snowflake" of "warehouse". If you can, use the role and the user of the Snowflake connection in Sigma. To learn the
   texts of Sigma's SQL as well, start the server with --record-shapes DIR.

5. Run: sigmasource scan CONNECTION
        sigmasource selftest CONNECTION

   The result has no data values. The first time, run it again between 20:00 and 24:00 in New York, when the day in UTC
   is another one.
`)
	_, err := io.WriteString(w, s.String())
	return err
}

func indent(text, prefix string) string {
	var s strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			s.WriteString(prefix)
		}
		s.WriteString(line)
	}
	return s.String()
}
