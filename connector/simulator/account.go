package simulator

import (
	"fmt"
	"slices"
	"time"
)

// Create adds a record and returns its id.
func (s *Simulator) Create(object string, properties map[string]string) (id string, err error) {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, ok := s.portal.table(object)
	if !ok {
		return "", fmt.Errorf("object type %s: %w", object, ErrNotFound)
	}
	return formatID(s.portal.create(t, properties, false).id), nil
}

// CreateMany adds n records with values like those of the base data and returns their ids.
func (s *Simulator) CreateMany(object string, n int) (ids []string, err error) {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, ok := s.portal.table(object)
	if !ok {
		return nil, fmt.Errorf("object type %s: %w", object, ErrNotFound)
	}
	for range n {
		ids = append(ids, formatID(s.portal.create(t, nil, true).id))
	}
	return ids, nil
}

// Update sets properties of a record; "" clears one.
func (s *Simulator) Update(object, id string, properties map[string]string) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, r, err := s.portal.findLive(object, id)
	if err != nil {
		return err
	}
	s.portal.update(t, r, properties, 0)
	return nil
}

// UpdateMany sets the same properties of many records, all stamped with one millisecond as imports do: at, or now if that
// is zero (and a later one for those that changed in this very millisecond). It returns the stamp.
func (s *Simulator) UpdateMany(object string, ids []string, properties map[string]string, at time.Time) (time.Time, error) {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	stamp := s.portal.nowMS()
	if !at.IsZero() {
		stamp = at.UnixMilli()
	}
	for _, id := range ids {
		t, r, err := s.portal.findLive(object, id)
		if err != nil {
			return time.Time{}, err
		}
		if at.IsZero() { // a record's time always moves on, as with Update
			s.portal.update(t, r, properties, max(stamp, r.modified+1))
			continue
		}
		s.portal.update(t, r, properties, stamp)
	}
	return time.UnixMilli(stamp), nil
}

// Recalculate sets properties as HubSpot does with calculated ones: without a new last-modified time.
func (s *Simulator) Recalculate(object, id string, properties map[string]string) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, r, err := s.portal.findLive(object, id)
	if err != nil {
		return err
	}
	s.portal.recalculate(t, r, properties)
	return nil
}

// Archive moves a record to the recycle bin.
func (s *Simulator) Archive(object, id string) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, r, err := s.portal.findLive(object, id)
	if err != nil {
		return err
	}
	s.portal.archive(t, r)
	return nil
}

// Restore takes a record out of the recycle bin.
func (s *Simulator) Restore(object, id string) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, r, err := s.portal.find(object, id)
	if err != nil {
		return err
	}
	if r.archivedAt == 0 || r.gone() {
		return fmt.Errorf("%s %s is not archived: %w", object, id, ErrNotFound)
	}
	s.portal.restore(t, r)
	return nil
}

// Merge joins two records and returns the id of the result.
func (s *Simulator) Merge(object, primary, other string) (winner string, err error) {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, a, err := s.portal.findLive(object, primary)
	if err != nil {
		return "", err
	}
	_, b, err := s.portal.findLive(object, other)
	if err != nil {
		return "", err
	}
	if a.id == b.id {
		return "", fmt.Errorf("merge %s %s into itself: %w", object, primary, ErrNotFound)
	}
	r, err := s.portal.merge(t, a, b)
	if err != nil {
		return "", err
	}
	return formatID(r.id), nil
}

// Purge deletes a record for privacy.
func (s *Simulator) Purge(object, id string) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, r, err := s.portal.find(object, id)
	if err != nil {
		return err
	}
	if r.gone() {
		return fmt.Errorf("%s %s is gone already: %w", object, id, ErrNotFound)
	}
	s.portal.purge(t, r)
	return nil
}

// Link associates two records, with the usual types of the two object types if none are given.
func (s *Simulator) Link(from, id, to, toID string, types ...LinkType) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	a, r, err := s.portal.findLive(from, id)
	if err != nil {
		return err
	}
	b, q, err := s.portal.findLive(to, toID)
	if err != nil {
		return err
	}
	s.portal.link(a, r, b, q, types)
	return nil
}

// Unlink removes the association of two records.
func (s *Simulator) Unlink(from, id, to, toID string) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	a, r, err := s.portal.findLive(from, id)
	if err != nil {
		return err
	}
	b, q, err := s.portal.findLive(to, toID)
	if err != nil {
		return err
	}
	if !s.portal.unlink(a, r, b, q) {
		return fmt.Errorf("link of %s %s to %s %s: %w", from, id, to, toID, ErrNotFound)
	}
	return nil
}

// Links returns the associations that a record has now, ascending by id.
func (s *Simulator) Links(from, id, to string) ([]Link, error) {
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	t, r, err := s.portal.find(from, id)
	if err != nil {
		return nil, err
	}
	other, ok := s.portal.table(to)
	if !ok {
		return nil, fmt.Errorf("object type %s: %w", to, ErrNotFound)
	}
	return slices.Clone(s.portal.liveLinks(linkKey{t, r.id, other})), nil
}

// IDs returns up to n ids of live records, ascending, beginning at rank from (in steps of step; 0 = 1).
func (s *Simulator) IDs(object string, from, n, step int) []string {
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	t, ok := s.portal.table(object)
	if !ok {
		return nil
	}
	var ids []string
	k := 0
	t.live.each(from, t.live.n, func(e entry) bool {
		if k%max(step, 1) == 0 {
			ids = append(ids, formatID(e.id))
		}
		k++
		return len(ids) < n
	})
	return ids
}

// DefineProperty adds a property definition or changes the one of its name: label, type, options, archived. Values stay.
func (s *Simulator) DefineProperty(object string, d Property) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, ok := s.portal.table(object)
	if !ok {
		return fmt.Errorf("object type %s: %w", object, ErrNotFound)
	}
	p := newProperty(d)
	p.createdAt = s.portal.nowMS()
	if before, ok := t.definitions.byName[d.Name]; ok {
		p.createdAt, p.system, p.make, p.fill, p.plain = before.createdAt, before.system, before.make, before.fill, before.plain
	}
	p.updatedAt = s.portal.nowMS()
	if p.Archived {
		p.archivedAt = p.updatedAt
	}
	t.definitions = t.definitions.with(p)
	return nil
}

// PropertyNamed returns a definition.
func (s *Simulator) PropertyNamed(object, name string) (Property, error) {
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	if t, ok := s.portal.table(object); ok {
		if p, ok := t.definitions.byName[name]; ok {
			return p.Property, nil
		}
	}
	return Property{}, fmt.Errorf("property %s of %s: %w", name, object, ErrNotFound)
}

// SetOwner adds an owner or replaces the one with its id.
func (s *Simulator) SetOwner(o Owner) {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	o.Type = orDefault(o.Type, "PERSON")
	o.CreatedAt = orDefault(o.CreatedAt, s.portal.nowMS())
	o.UpdatedAt = orDefault(o.UpdatedAt, s.portal.nowMS())
	list := slices.Clone(s.portal.owners)
	if i := slices.IndexFunc(list, func(x Owner) bool { return x.ID == o.ID }); i >= 0 {
		list[i] = o
	} else {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Owner) int {
		x, _ := parseID(a.ID)
		y, _ := parseID(b.ID)
		return compareIDs(x, y)
	})
	s.portal.owners = list
}

// Owners returns all owners, archived ones included.
func (s *Simulator) Owners() []Owner {
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	return slices.Clone(s.portal.owners)
}

// SetPipelines replaces the pipelines of an object type.
func (s *Simulator) SetPipelines(object string, list []Pipeline) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	t, ok := s.portal.table(object)
	if !ok {
		return fmt.Errorf("object type %s: %w", object, ErrNotFound)
	}
	s.portal.pipelines[t.object.Name] = slices.Clone(list)
	return nil
}

// Pipelines returns the pipelines of an object type.
func (s *Simulator) Pipelines(object string) []Pipeline {
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	t, ok := s.portal.table(object)
	if !ok {
		return nil
	}
	return slices.Clone(s.portal.pipelines[t.object.Name])
}

// Spend takes requests out of the budgets as other programs do: burst ones of the token's app, searches of the account,
// and further ones of the day.
func (s *Simulator) Spend(token string, burst, searches, daily int) {
	if a := s.auth.check("Bearer "+orDefault(token, s.opts.Token), s.portal.now()); a != nil {
		s.limits.spend(a, burst, searches, daily, s.portal.now())
	}
}
