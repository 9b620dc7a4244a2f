package snowflake

import (
	"fmt"
	"runtime"

	"github.com/sigmasource/sigmasource/warehouse"
)

// panicError is a panic of the driver, of Arrow or of this package on data that
// Snowflake sent. It does not hold the panic's value, which may quote the data.
type panicError struct{ place string } // file and line, as far as they are known

func (e *panicError) Error() string { return "snowflake: a panic at " + e.place }

// recoverTo sets err where the function that defers it panics.
func recoverTo(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "Snowflake's answer was not understood", Err: &panicError{panicPlace()}}
}

// panicPlace returns the function and the line that panicked, of the panic that a
// deferred function is recovering from.
func panicPlace() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	isRuntime := false
	for {
		frame, more := frames.Next()
		switch {
		case len(frame.Function) > len("runtime.") && frame.Function[:len("runtime.")] == "runtime.":
			isRuntime = true
		case isRuntime:
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

// outcome is what a function returned.
type outcome[T any] struct {
	value T
	err   error
}

// start calls do in a goroutine, since the driver may not return at once when its
// context ends, and returns a channel that gets the outcome. The caller has called
// begin; a panic becomes a *warehouse.Error.
func start[T any](w *Warehouse, do func() (T, error)) <-chan outcome[T] {
	done := make(chan outcome[T], 1)
	go func() {
		defer w.requests.Done()
		var o outcome[T]
		defer func() { done <- o }()
		defer recoverTo(&o.err)
		o.value, o.err = do()
	}()
	return done
}
