package sigmaclient

// What is parsed from Sigma's answers, for fuzzing.
var (
	NewError        = newError
	ParseRetryAfter = parseRetryAfter
)
