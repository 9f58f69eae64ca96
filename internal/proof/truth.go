package proof

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// Record is one record as the source has it.
type Record struct {
	ID         string
	Properties map[string]string // those with a value
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Archived   bool
	MergedInto string
	Purged     bool // deleted for privacy

	// Exact says that this is what the row was made of, so that times that are zero are null there, and ArchivedAt counts.
	Exact      bool
	ArchivedAt time.Time
}

// Truth reads the simulator's ground truth of one object type, ascending by id.
func Truth(ctx context.Context, baseURL, object string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		fail := func(err error) { yield(Record{}, fmt.Errorf("read the truth about %s: %w", object, err)) }
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/_control/truth/"+object, nil)
		if err != nil {
			fail(err)
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fail(err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			fail(errors.New(resp.Status))
			return
		}
		lines := bufio.NewReaderSize(resp.Body, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if len(line) > 1 {
				r, err := decodeRecord(line)
				if err != nil {
					fail(err)
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				fail(err)
				return
			}
		}
	}
}

func decodeRecord(line []byte) (Record, error) {
	var raw struct {
		ID         string                     `json:"id"`
		Properties map[string]json.RawMessage `json:"properties"`
		CreatedAt  time.Time                  `json:"createdAt"`
		UpdatedAt  time.Time                  `json:"updatedAt"`
		Archived   bool                       `json:"archived"`
		MergedInto string                     `json:"mergedInto"`
		Purged     bool                       `json:"purged"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return Record{}, err
	}
	r := Record{
		ID: raw.ID, CreatedAt: raw.CreatedAt, UpdatedAt: raw.UpdatedAt,
		Archived: raw.Archived, MergedInto: raw.MergedInto, Purged: raw.Purged,
		Properties: make(map[string]string, len(raw.Properties)),
	}
	for name, value := range raw.Properties {
		// encoding/json would turn a lone surrogate into U+FFFD; the codec's scanner keeps it.
		s := schemas.NewScanner(value)
		if text := s.String(); text != "" {
			r.Properties[name] = text
		}
		if err := s.Err(); err != nil {
			return Record{}, fmt.Errorf("property %s of %s: %w", name, raw.ID, err)
		}
	}
	return r, nil
}
