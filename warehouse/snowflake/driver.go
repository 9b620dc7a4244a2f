package snowflake

import (
	"io"

	"github.com/snowflakedb/gosnowflake"
)

// mute is the driver's logger without a voice: its messages would show names
// of users and addresses, and with a configuration file in the user's home
// directory also more. The driver reads that file to replace its logger, which
// mute does not let happen.
type mute struct{ gosnowflake.SFLogger }

// Replace implements gosnowflake.SFLogger.
func (mute) Replace(*gosnowflake.SFLogger) {}

func init() {
	logger := gosnowflake.GetLogger()
	logger.SetOutput(io.Discard)
	if err := logger.SetLogLevel("fatal"); err != nil {
		panic(err) // a level that the driver knows
	}
	var muted gosnowflake.SFLogger = mute{logger}
	gosnowflake.SetLogger(&muted)
}
