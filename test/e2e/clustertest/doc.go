// Package clustertest runs clusters of real processes of the built binary for
// tests: on free ports of loopback, with data in temporary directories that
// vanish with the test.
//
// Nothing in it sleeps: [Until] looks at a condition again and again until it
// holds or a deadline has passed, which is long enough for a machine under load.
package clustertest
