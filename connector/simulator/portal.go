package simulator

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// portal is the data of the account.
type portal struct {
	opts       Options
	zone       *time.Location
	offset     atomic.Int64 // ns that the clock was advanced by
	ownerCount int          // owners of the base data

	mu        sync.RWMutex // guards everything below, and the tables
	tables    []*table
	byName    map[string]*table
	owners    []Owner
	pipelines map[string][]Pipeline // by plural name
	links     map[linkKey][]Link    // sets that differ from the base data
	queue     indexQueue
	changes   int64 // number of the last change
	rng       *rand.Rand
	emit      func(...event) // hands events to the webhooks; must not block
}

func newPortal(o Options) (*portal, error) {
	zone, err := time.LoadLocation(o.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("load time zone: %w", err)
	}
	p := &portal{
		opts: o, zone: zone, ownerCount: o.Owners, byName: map[string]*table{}, links: map[linkKey][]Link{},
		pipelines: map[string][]Pipeline{}, rng: rand.New(rand.NewPCG(uint64(o.Seed), 11)), emit: func(...event) {},
	}
	counts := map[string]int{"contacts": o.Contacts, "companies": o.Companies, "deals": o.Deals, "tickets": o.Tickets, "calls": o.Calls}
	for name, n := range o.Records {
		counts[name] = n
	}
	for _, object := range hubspot.Objects() {
		t := newTable(p, object, counts[object.Name])
		delete(counts, object.Name)
		p.add(t, object.Name, object.Singular, object.TypeID)
	}
	for name := range counts {
		if counts[name] != 0 {
			return nil, fmt.Errorf("make records: unknown object type %q", name)
		}
	}
	for i, c := range o.CustomObjects {
		p.addCustom(i, c)
	}
	for _, t := range p.tables {
		t.definitions = startDefinitions(t)
	}
	p.owners = startOwners(o.Owners)
	p.pipelines = startPipelines()
	return p, nil
}

func (p *portal) add(t *table, names ...string) {
	p.tables = append(p.tables, t)
	for _, name := range names {
		p.byName[name] = t
	}
}

// addCustom adds a custom object type. HubSpot rule: it is addressed by type id, p_<name> or p<portal>_<name>; its bare
// name fails on some endpoints, so here on all, and may belong to a standard type.
func (p *portal) addCustom(i int, c CustomObject) {
	o := hubspot.Object{
		Name: "p_" + c.Name, Singular: c.Name, TypeID: "2-" + strconv.Itoa(3_400_000+i*17),
		FullyQualifiedName: fmt.Sprintf("p%d_%s", p.opts.PortalID, c.Name),
		CreatedProperty:    "hs_createdate", ModifiedProperty: "hs_lastmodifieddate",
		DefaultProperties: []string{"hs_createdate", "hs_lastmodifieddate", "hs_object_id"},
	}
	c.Singular = orDefault(c.Singular, labelOf(c.Name))
	c.Plural = orDefault(c.Plural, c.Singular+"s")
	t := newTable(p, o, c.Count)
	t.custom = &c
	p.add(t, o.Name, o.TypeID, o.FullyQualifiedName)
}

// table finds an object type by any of its names.
func (p *portal) table(name string) (*table, bool) {
	t, ok := p.byName[name]
	return t, ok
}

func (p *portal) now() time.Time { return p.opts.Now().Add(time.Duration(p.offset.Load())) }
func (p *portal) nowMS() int64   { return p.now().UnixMilli() }

func parseID(s string) (int64, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id >= 0 && s[0] != '+'
}

func formatID(id int64) string             { return strconv.FormatInt(id, 10) }
func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
func upper(s string) string                { return strings.ToUpper(s) }
func appendUUID(dst []byte, h uint64) []byte {
	lo := mix(h + 1)
	return fmt.Appendf(dst, "%08x-%04x-4%03x-%04x-%012x", uint32(h>>32), uint16(h>>16), uint16(h)&0xfff, uint16(lo>>48)&0x3fff|0x8000, lo&0xffffffffffff)
}
