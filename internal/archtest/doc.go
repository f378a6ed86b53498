// Package archtest holds tests of the source tree itself: which package may
// import which, what replayed code may touch, how large a file may grow, and
// that documents name files that exist. It has no code of its own.
package archtest
