package hubspot

import (
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// Record is one record as HubSpot answered it.
type Record struct {
	ID         string // canonical decimal
	Properties schemas.Properties
	CreatedAt  time.Time // zero if HubSpot gave none
	UpdatedAt  time.Time
	ArchivedAt time.Time // zero unless archived
	Archived   bool
}

// RejectedRecord is a malformed record inside a valid answer: the other records of the answer survive.
type RejectedRecord struct {
	ID     string // "" if it could not be read
	Reason string
	Raw    string // what HubSpot sent, cut at 64 KiB
}

// Page is one page of a list.
type Page struct {
	Records  []Record
	Rejected []RejectedRecord
	Next     string // cursor of the next page, "" on the last
}

// SearchPage is one page of a search.
type SearchPage struct {
	Records  []Record
	Rejected []RejectedRecord
	Total    int // matches of the whole query
	Next     int // offset of the next page, 0 on the last
}

// Batch is the answer to a batch read. Records come in no particular order, and a merged record comes under its new id:
// match them by content, not by position.
type Batch struct {
	Records  []Record
	Rejected []RejectedRecord
	Missing  []string // ids asked for that no record of the answer carries, ascending
}
