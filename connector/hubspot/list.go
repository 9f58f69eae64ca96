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
}

// List reads one page.
//
// HubSpot rule: the names of the properties are part of the URL, and a URL too long is refused (414). With more names than
// Config.MaxURL has room for, List reads the ids and then the records by BatchRead: two requests, and a record that is
// archived in between is left out.
func (c *Client) List(ctx context.Context, req ListRequest) (Page, error) {
	if path := c.listPath(req, req.Properties); c.fits(path) {
		page, err := c.list(ctx, req, path)
		if e := (*Error)(nil); !errors.As(err, &e) || e.Status != http.StatusRequestURITooLong {
			return page, err
		}
		c.shrinkURL(len(c.base) + len(path))
	}
	return c.listByID(ctx, req)
}

func (c *Client) list(ctx context.Context, req ListRequest, path string) (page Page, err error) {
	what := "list " + req.Object.Name
	if req.Archived {
		what = "list archived " + req.Object.Name
	}
	err = c.do(ctx, &request{kind: kindList, what: what, method: http.MethodGet, path: path, read: func(body []byte) error {
		if page, err = ReadPage(req.Object, body); err != nil {
			return err
		}
		return advances(req.After, page.Next)
	}})
	return page, err
}

// listByID reads the page's ids by list and its records by batch read.
func (c *Client) listByID(ctx context.Context, req ListRequest) (Page, error) {
	page, err := c.list(ctx, req, c.listPath(req, []string{"hs_object_id"}))
	if err != nil || len(page.Records) == 0 {
		return page, err
	}
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
