// Package atrest damages the files of a node that does not run: flipped bytes,
// cut tails, a directory that is gone, or one that is an old copy of itself.
//
//	A1  What is damaged follows from the seed and the directory's content alone.
//	A2  Every damage says what it did, for the log of the run.
package atrest
