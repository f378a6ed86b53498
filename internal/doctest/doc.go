// Package doctest holds tests of the documents: that links lead somewhere, and
// that settings, commands, metrics, make targets and tests are called in them
// what they are called in the code. It has no code of its own.
package doctest
