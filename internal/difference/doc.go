// Package difference is what a comparison found: connector compares HubSpot with the log, sink the log with the tables,
// and both report in the same form.
package difference
