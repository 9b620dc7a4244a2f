// Command protodeps writes the third-party .proto files that the contract
// imports into a folder, so that buf needs no schema registry. The files are
// rendered from the descriptors inside the Go modules that the service links,
// hence they are always of the version that go.mod pins.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// imports are the third-party files that proto/ imports.
var imports = []string{
	"buf/validate/validate.proto",
	"google/api/field_behavior.proto",
	"google/api/resource.proto",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: protodeps DIR")
	}
	for _, path := range imports {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		text, err := new(protoprint.Printer).PrintProtoToString(file)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		target := filepath.Join(os.Args[1], filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
