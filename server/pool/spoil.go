//go:build !race

package pool

const spoil = false
