// Package config fills a configuration struct from flags, the environment, a
// file and defaults, in this order of precedence.
//
// It owns the mapping between the four and nothing else: which settings exist
// and whether their values make sense is the business of the struct's owner.
//
// Invariants:
//
//	F1  A key has one name in three spellings: log.level in a file,
//	    --log-level as a flag, CHATNODE_LOG_LEVEL in the environment.
//	F2  A key that the struct does not know is an error when it stands in a
//	    file, and a warning when it stands in the environment (container
//	    platforms inject variables of their own).
//	F3  Secrets have no flag: whoever may list processes may read flags.
package config
