package hubspot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxPage is how many records a list page has at most, and a batch. HubSpot rule.
const maxPage = 100

// ListRequest asks for one page of an object type, ascending by id.
type ListRequest struct {
	Object     Object
	After      string   // cursor from Page.Next, "" for the first page
	Limit      int      // 1-100; 0 means 100
	Properties []string // none means the object's default properties
	Archived   bool     // only the records in the recycle bin
	// Claim, if set, is called once, when the budget lets the request go, and fills in what to read. So requests that wait
	// hold no work that others could do meanwhile. If it returns false, nothing is sent and List returns ErrUnclaimed.
	Claim func(*ListRequest) bool
}

// List reads one page.
//
// HubSpot rule: the names of the properties are part of the URL, and a URL too long is refused (414). With more names than
// Config.MaxURL has room for, List reads the ids and then the records by BatchRead: two requests, and a record that is
// archived in between is left out.
func (c *Client) List(ctx context.Context, req ListRequest) (page Page, err error) {
	r := &request{kind: kindList, what: "list " + req.Object.Name, method: http.MethodGet}
	if req.Archived {
		r.what = "list archived " + req.Object.Name
	}
	r.read = func(body []byte) error {
		if page, err = ReadPage(req.Object, body); err != nil {
			return err
		}
		return advances(req.After, page.Next)
	}
	idsOnly := false
	build := func() {
		r.path = c.listPath(req, req.Properties)
		if idsOnly = !c.fits(r.path); idsOnly {
			r.path = c.listPath(req, []string{"hs_object_id"})
		}
	}
	if claim := req.Claim; claim != nil {
		r.claim = func() bool {
			ok := claim(&req)
			build()
			return ok
		}
	} else {
		build()
	}
	err = c.do(ctx, r)
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusRequestURITooLong && !idsOnly {
		c.shrinkURL(len(c.base) + len(r.path))
		build()
		r.claim = nil
		err = c.do(ctx, r)
	}
	if err != nil || !idsOnly {
		return page, err
	}
	return c.fill(ctx, req, page)
}

// fill reads the records of a page that has only their ids.
func (c *Client) fill(ctx context.Context, req ListRequest, page Page) (Page, error) {
	ids := make([]string, len(page.Records))
	for i, r := range page.Records {
		ids[i] = r.ID
	}
	batch, err := c.BatchRead(ctx, BatchReadRequest{Object: req.Object, IDs: ids, Properties: req.Properties, Archived: req.Archived})
	if err != nil {
		return Page{}, err
	}
	slices.SortFunc(batch.Records, func(x, y Record) int { return compareIDs(x.ID, y.ID) })
	page.Records = slices.CompactFunc(batch.Records, func(x, y Record) bool { return x.ID == y.ID })
	page.Rejected = append(page.Rejected, batch.Rejected...)
	return page, nil
}

func (c *core) listPath(req ListRequest, properties []string) string {
	var b strings.Builder
	b.WriteString(c.objects(req.Object))
	b.WriteString("?limit=" + strconv.Itoa(clampLimit(req.Limit, maxPage)))
	if req.After != "" {
		b.WriteString("&after=" + url.QueryEscape(req.After))
	}
	if req.Archived {
		b.WriteString("&archived=true")
	}
	for i, name := range properties {
		if i == 0 {
			b.WriteString("&properties=")
		} else {
			b.WriteByte(',')
		}
		b.WriteString(url.QueryEscape(name))
	}
	return b.String()
}

func (c *core) fits(path string) bool { return int64(len(c.base)+len(path)) <= c.maxURL.Load() }

// shrinkURL remembers that a URL of n bytes was refused.
func (c *core) shrinkURL(n int) {
	for {
		old := c.maxURL.Load()
		if int64(n) > old || c.maxURL.CompareAndSwap(old, int64(n-1)) {
			return
		}
	}
}

// advances checks that the cursor of the next page is behind that of this page, else a walk would never end.
func advances(after, next string) error {
	if next == "" || after == "" {
		return nil
	}
	a, errA := strconv.ParseInt(after, 10, 64)
	n, errN := strconv.ParseInt(next, 10, 64)
	if next == after || errA == nil && errN == nil && n <= a {
		return fmt.Errorf("cursor of the next page is %q after %q", next, after)
	}
	return nil
}

func clampLimit(limit, most int) int {
	if limit <= 0 {
		return most
	}
	return min(limit, most)
}

// compareIDs orders canonical ids by number.
func compareIDs(x, y string) int {
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(x, y)
}
