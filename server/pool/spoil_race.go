//go:build race

package pool

const spoil = true
