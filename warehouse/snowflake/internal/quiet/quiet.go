// Package quiet keeps the Snowflake driver from what a service must not do
// behind its operator's back. Two of the driver's habits can be switched off
// through the environment only: while it is initialized it unpacks a shared
// library and loads it into the process, and at the first login it asks the
// metadata services of the clouds where it runs.
//
// Go initializes packages that are ready in the order of their import paths
// (https://go.dev/ref/spec#Program_initialization): this one needs os alone and
// sorts before github.com/snowflakedb, so that it comes first wherever both are
// linked. It must import nothing else.
package quiet

import "os"

func init() {
	for _, name := range []string{"SF_DISABLE_MINICORE", "SNOWFLAKE_DISABLE_PLATFORM_DETECTION"} {
		if err := os.Setenv(name, "true"); err != nil {
			panic(err) // the names are valid: it does not happen
		}
	}
}
