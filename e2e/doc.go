// Package e2e holds the tests that run the real clients. The module is its own so that the clients' dependencies, which
// it pins, are not those of our binaries.
package e2e
