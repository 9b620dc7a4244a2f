package sigmasql

// Steps prepares a text and returns the steps that the tracing of its columns takes, of at most MaxSteps.
func Steps(text string, opts Options) (int, error) {
	custom, _ := customSpans(text, opts.Dialect, opts.CustomSQL)
	p := newParser(text, opts.Dialect, custom)
	if err := p.parse(); err != nil {
		return 0, err
	}
	t := newTracer(p)
	t.trace()
	return t.steps, nil
}

// MaxSteps bounds the steps for one text.
const MaxSteps = maxTraceSteps
