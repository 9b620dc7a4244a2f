package shapes

// IsSQLWord reports whether a word of a SQL text is not replaced.
func IsSQLWord(word string) bool { return sqlWords[word] }
