// Package schemas is the contract of the log: every message on it, as a Go type with one codec, and as a JSON Schema.
// It imports nothing but the standard library. The tables of subjects and fields are in this directory's README.md.
package schemas
