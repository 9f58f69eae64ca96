package hubspot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// BatchReadRequest asks for records by id, any number of them.
type BatchReadRequest struct {
	Object     Object
	IDs        []string // in any order; one that comes twice is read once
	Properties []string // none means the object's default properties
	Archived   bool     // only records in the recycle bin; the others count as missing
}

// Batch is the answer to a batch read. Records come in no particular order, and a merged record comes under its new id:
// match them by content, not by position.
type Batch struct {
	Records  []Record
	Rejected []RejectedRecord
	// Missing are the ids that HubSpot has no record for, ascending: archived (unless asked for), purged, or never there.
	Missing []string
	// Merged are the ids whose record came under another id, which is the value. (HubSpot rule: an id that lost a merge
	// reads as the winner.) Only with hs_merged_object_ids among the properties is this sure to be complete.
	Merged map[string]string
}

type batchBody struct {
	Inputs     []batchInput `json:"inputs"`
	Properties []string     `json:"properties,omitempty"`
}

type batchInput struct {
	ID    string `json:"id"`
	After string `json:"after,omitempty"`
}

// BatchRead reads the records with the given ids, 100 with each request.
func (c *Client) BatchRead(ctx context.Context, req BatchReadRequest) (Batch, error) {
	ids := make([]string, 0, len(req.IDs))
	for _, id := range req.IDs {
		canonical, ok := canonicalID([]byte(id))
		if !ok {
			return Batch{}, fmt.Errorf("read %s: %w: id %q is not a number", req.Object.Name, ErrInvalid, id)
		}
		ids = append(ids, canonical)
	}
	slices.SortFunc(ids, compareIDs)
	ids = slices.Compact(ids)
	var all Batch
	for chunk := range slices.Chunk(ids, maxPage) {
		b, err := c.batchRead(ctx, req, chunk)
		if err != nil {
			return Batch{}, err
		}
		all.Records = append(all.Records, b.Records...)
		all.Rejected = append(all.Rejected, b.Rejected...)
		all.Missing = append(all.Missing, b.Missing...)
		for loser, winner := range b.Merged {
			if all.Merged == nil {
				all.Merged = make(map[string]string)
			}
			all.Merged[loser] = winner
		}
	}
	return all, nil
}

func (c *Client) batchRead(ctx context.Context, req BatchReadRequest, ids []string) (batch Batch, err error) {
	body := batchBody{Properties: req.Properties, Inputs: make([]batchInput, len(ids))}
	for i, id := range ids {
		body.Inputs[i].ID = id
	}
	data, err := json.Marshal(body)
	if err != nil {
		return Batch{}, fmt.Errorf("read %s: %w", req.Object.Name, err)
	}
	path := c.objects(req.Object) + "/batch/read"
	if req.Archived {
		path += "?archived=true"
	}
	err = c.do(ctx, &request{
		kind: kindBatch, what: "read " + req.Object.Name, method: http.MethodPost, path: path, body: data,
		read: func(body []byte) error {
			batch, err = readBatch(req.Object, ids, body)
			return err
		},
	})
	return batch, err
}

// readBatch reads the answer to a batch read of ids, which are ascending.
func readBatch(object Object, ids []string, body []byte) (Batch, error) {
	a, err := readAnswer(object, body)
	if err != nil {
		return Batch{}, err
	}
	missing := make(map[string]bool, len(ids)) // and whether an error says so
	for _, id := range ids {
		missing[id] = false
	}
	for _, p := range a.problems {
		if p.Category != "OBJECT_NOT_FOUND" {
			return Batch{}, &Error{Status: http.StatusMultiStatus, Category: p.Category, SubCategory: p.SubCategory, Message: p.Message}
		}
		for _, id := range p.ids {
			if _, asked := missing[id]; asked {
				missing[id] = true
			}
		}
	}
	b := Batch{Records: a.records, Rejected: a.rejected}
	var strangers []Record
	for _, r := range a.records {
		if _, asked := missing[r.ID]; !asked {
			strangers = append(strangers, r)
		}
		delete(missing, r.ID)
	}
	for _, r := range a.rejected {
		delete(missing, r.ID) // it is there, only unreadable
	}
	b.Merged = merged(strangers, missing)
	for _, id := range ids {
		if _, is := missing[id]; is && b.Merged[id] == "" {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// merged finds out which of the missing ids the strangers, records that came without being asked for, stand for: those that
// they say they absorbed, else the only one that no error accounts for.
func merged(strangers []Record, missing map[string]bool) map[string]string {
	m := make(map[string]string)
	for _, r := range strangers {
		absorbed, _ := r.Properties.Get("hs_merged_object_ids")
		for id := range strings.SplitSeq(absorbed, ";") {
			if _, is := missing[strings.TrimSpace(id)]; is {
				m[strings.TrimSpace(id)] = r.ID
			}
		}
	}
	if len(m) > 0 || len(strangers) != 1 {
		return m
	}
	for id, explained := range missing {
		if !explained {
			m[id] = strangers[0].ID
		}
	}
	if len(m) > 1 {
		return nil
	}
	return m
}
