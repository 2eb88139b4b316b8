// Package strace makes system calls of a program fail from outside, by the program of that name: strace(1), --inject. Tests
// of what happens where the system says no need no seam for it in what they test.
package strace

// Every is the environment variable that, when not empty, makes EachFault try every n.
const Every = "AWSKMS_OFFLINE_TEST_EVERY_FAULT"
