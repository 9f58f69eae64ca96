package schemas_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

func (r random) hint() *schemas.Hint {
	h := &schemas.Hint{
		Kind: pick(r, schemas.HintRecord, schemas.HintLinks, schemas.HintMerge, schemas.HintPurge), Portal: r.text(1), Object: r.text(1), ID: r.text(1),
		OccurredAt: pick(r, time.Time{}, r.time()), Cause: r.text(1), Property: r.text(0),
	}
	if h.Kind == schemas.HintLinks {
		h.To = r.text(0)
	}
	if h.Kind == schemas.HintMerge {
		h.MergedInto = r.text(1)
	}
	return h
}

func TestHintsDecodeToWhatWasEncoded(t *testing.T) {
	validator := newValidator(t)
	for seed := range uint64(2000) {
		r := newRandom(seed)
		r.alphabet = alphabet[:len(alphabet)-1] // half characters do not survive encoding/json
		h := r.hint()
		m, err := h.Encode()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := schemas.DecodeHint(m)
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("seed %d: %v\nencoded %+v\ndecoded %+v", seed, err, h, got)
		}
		if err := validator.body(m.Subject, m.Data); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, m.Data)
		}
	}
}

func TestHintsShareASubjectOnlyIfTheyAskForTheSame(t *testing.T) {
	seen := map[string]schemas.Hint{}
	for _, kind := range []schemas.HintKind{schemas.HintRecord, schemas.HintLinks, schemas.HintMerge, schemas.HintPurge} {
		for _, object := range []string{"contacts", "_links", "_merge", "_purge", "p_x", "a.b"} {
			for _, id := range []string{"1", "*", "_all", "contacts"} {
				for _, to := range []string{"", "_all", "deals"} {
					h := schemas.Hint{Kind: kind, Portal: "7", Object: object, ID: id, To: to}
					if to != "" && kind != schemas.HintLinks {
						continue
					}
					if other, ok := seen[h.Subject()]; ok {
						t.Errorf("%+v and %+v are both on %s", h, other, h.Subject())
					}
					seen[h.Subject()] = h
				}
			}
		}
	}
}

func TestHintFiltersHaveNothingInCommon(t *testing.T) {
	kinds := []schemas.HintKind{schemas.HintRecord, schemas.HintLinks, schemas.HintMerge, schemas.HintPurge}
	objects := []string{"contacts", "_links", "_merge", "_purge", "_all"}
	filters := map[string]bool{}
	for _, kind := range kinds {
		for _, object := range objects {
			filters[schemas.HintFilter(kind, "7", object)] = true
		}
	}
	for _, kind := range kinds {
		for _, object := range objects {
			h := schemas.Hint{Kind: kind, Portal: "7", Object: object, ID: "contacts"}
			want := schemas.HintFilter(kind, "7", object)
			for filter := range filters {
				if matches(filter, h.Subject()) != (filter == want) {
					t.Errorf("%s and %s: %t", filter, h.Subject(), filter != want)
				}
			}
		}
	}
}

// matches says whether a subject matches a filter with wildcards for single tokens.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	if len(f) != len(s) {
		return false
	}
	for i := range f {
		if f[i] != "*" && f[i] != s[i] {
			return false
		}
	}
	return true
}
