package sigmasql

import "regexp"

// formulaMessage matches the messages that Sigma writes into its SQL in the place of a formula that it cannot compile.
// Each form is a whole text: an author's sentence that begins like one is none. The forms were seen in compiled SQL, in
// scripts that check workbooks, and in Sigma's documentation. The list cannot be complete, so package server/model also
// compares constants with the formulas of their columns.
var formulaMessage = func() *regexp.Regexp {
	const (
		column   = `(?:"\[[^\n]+\]"|\[[^\n]+\]|"[^"\n]+"|'[^'\n]+'|\S+)`
		function = `[A-Za-z_][A-Za-z0-9_.]*`
		count    = `(?:(?:at least |at most |exactly )?\d+|\d+(?: to | or |-)\d+)`
	)
	return regexp.MustCompile(`^(?:` +
		`Unknown column ` + column +
		`|Unknown function ` + function +
		`|Circular column reference to ` + column +
		`|Reference to errored column:? ` + column +
		`|Column ` + column + ` does not exist` +
		`|Column has a recursive formula` +
		`|Incomplete formula` +
		`|` + function + ` expected ` + count + ` argument(?:s|\(s\))?, got \d+` +
		`|Argument \d+ invalid for function ` + function +
		`)\.?$`)
}()

// maxMessage is the length in bytes of the longest text that can be one of Sigma's messages.
const maxMessage = 4096

// IsFormulaMessage reports whether a text has one of the forms of the messages that Sigma writes in the place of a
// formula with an error. An author can write the same text, so that the column's formula decides where it is known.
func IsFormulaMessage(text string) bool {
	if text == "" || len(text) > maxMessage {
		return false
	}
	return formulaMessage.MatchString(text)
}
