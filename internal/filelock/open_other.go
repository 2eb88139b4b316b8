//go:build !unix

package filelock

const nonblock = 0
