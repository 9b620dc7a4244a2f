package main

import (
	"fmt"
	"log/slog"

	"github.com/hashicorp/go-cleanhttp"

	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/shapes"
)

// recordShapes lets the server record the shapes of the answers that it gets, where
// the operator wants it to.
func (f *serveFlags) recordShapes(config *server.Config, logger *slog.Logger) error {
	if f.shapes == "" {
		return nil
	}
	recorder, err := shapes.Open(f.shapes, logger)
	if err != nil {
		return fmt.Errorf("--record-shapes: %w", err)
	}
	config.SigmaTransport = recorder.Transport(cleanhttp.DefaultPooledTransport())
	config.WrapSnowflake = recorder.Transport
	logger.Info("recording the shapes of Sigma's and Snowflake's answers", "folder", f.shapes)
	return nil
}
