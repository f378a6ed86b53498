// Package obs makes what the service is observed by: the structured logger and
// the metrics registry. Both are made once by the program and handed down; no
// package reaches for a global one.
package obs
