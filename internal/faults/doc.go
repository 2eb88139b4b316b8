// Package faults runs the built plugins and the command line where things break, and under load: every system call of file
// I/O failing once, no memory, no file descriptors, full and read-only disks, foreign owners, links, records swapped while
// they are read, processes killed, hundreds at once. Always there is the right answer or a refusal, never a wrong yes, never
// a run longer than the deadline, and nothing that was written before is lost.
//
// It has tests only, for Linux. `make faults` and `make load` run them in full, `go test` a part; what a machine lacks
// is said by the test that is skipped. docs/reliability.md tells what was tried.
package faults
