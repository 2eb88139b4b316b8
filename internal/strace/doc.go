// Package strace makes system calls of a program fail from outside, by the program of that name: strace(1), --inject. Tests
// of what happens where the system says no need no seam for it in what they test.
package strace
