package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// errObjectsChanged ends the reading for a moment, because object types came or went.
var errObjectsChanged = errors.New("object types came or went")

// watchObjects looks now and then which custom object types the portal has, if the configuration may mean some, until what is
// read would be something else. It costs one request per Config.DefinitionsInterval.
func (s *Source) watchObjects(ctx context.Context) error {
	if !slices.ContainsFunc(s.cfg.Objects, meansCustom) {
		return nil
	}
	client, every := s.cfg.Client.At(hubspot.PriorityIncremental), s.cfg.DefinitionsInterval
	for {
		if err := pause(ctx, every-every/12, every+every/12); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
		chosen, err := resolveNow(ctx, client, s.cfg.Objects)
		if err != nil || len(chosen.refused) > 0 { // who may not look, or cannot, does not know: all stays as it is
			continue
		}
		if s.differs(chosen) {
			s.appeared = &chosen
			return errObjectsChanged
		}
	}
}

// meansCustom reports whether a configured name may mean custom object types.
func meansCustom(name string) bool {
	_, standard := hubspot.ObjectByName(name)
	return !standard && name != ownersObject && name != "pipelines"
}

// differs reports whether other object types are chosen than those that are read.
func (s *Source) differs(chosen selection) bool {
	n := 0
	for _, o := range chosen.objects {
		if o.Name == ownersObject {
			continue
		}
		n++
		if s.followerOf(o) == nil {
			return true
		}
	}
	return n != len(s.followers)
}

// followerOf returns who follows the object type, nil if nobody does. One that was deleted and made again under its name is
// another one.
func (s *Source) followerOf(o hubspot.Object) *follower {
	i := slices.IndexFunc(s.followers, func(f *follower) bool { return f.object.Name == o.Name && f.object.TypeID == o.TypeID })
	if i < 0 {
		return nil
	}
	return s.followers[i]
}

// adopt makes the source read what appeared, and read no longer what is gone. Nothing of it works meanwhile.
func (s *Source) adopt(ctx context.Context) error {
	chosen := *s.appeared
	s.appeared = nil
	next := make([]*follower, 0, len(chosen.objects))
	var came []string
	for _, o := range chosen.objects {
		if o.Name == ownersObject {
			continue
		}
		f := s.followerOf(o)
		if f == nil {
			log, err := s.openLog(ctx, o)
			if err != nil {
				return err
			}
			f = newFollower(s, o, log)
			f.optional = chosen.optional[o.Name]
			came = append(came, o.Name)
			if s.receives.Load() {
				f.heard.expect()
			}
		}
		next = append(next, f)
	}
	var went []string
	for _, f := range s.followers {
		if !slices.Contains(next, f) && !slices.Contains(came, f.object.Name) {
			went = append(went, f.object.Name)
		}
	}
	s.mu.Lock()
	before := s.followers
	s.followers = next
	s.mu.Unlock()
	links, err := newLinkReader(s)
	if err != nil { // a pair of the configuration names what is gone
		s.mu.Lock()
		s.followers = before
		s.mu.Unlock()
		return err
	}
	s.links = links
	s.mu.Lock()
	s.refused = s.absent(chosen, went)
	s.mu.Unlock()
	if len(came) > 0 {
		s.cfg.Logger.Info("custom object types appeared and are read", "component", "source", "objects", strings.Join(came, ","))
	}
	if len(went) > 0 {
		s.cfg.Logger.Warn("custom object types are gone from HubSpot and no longer asked for; their records stay as they were",
			"component", "source", "objects", strings.Join(went, ","))
	}
	return nil
}

// absent returns the status of object types that are not read: refused, gone, or named and not there yet.
func (s *Source) absent(chosen selection, went []string) []ObjectStatus {
	all := slices.Clone(chosen.refused)
	for _, name := range slices.Concat(went, chosen.missing) {
		if !slices.ContainsFunc(all, func(o ObjectStatus) bool { return o.Object == name || o.Object == "p_"+name }) {
			all = append(all, ObjectStatus{
				Object: name, Phase: PhaseForbidden, LastError: fmt.Sprintf("HubSpot has no such custom object; it is looked for every %s", s.cfg.DefinitionsInterval),
			})
		}
	}
	return all
}

// objects returns the object types that are read at the moment. Any goroutine may call it.
func (s *Source) objects() []hubspot.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]hubspot.Object, len(s.followers))
	for i, f := range s.followers {
		all[i] = f.object
	}
	return all
}

// requireAll returns an error if something that was named is not there: a one-shot run cannot wait for it.
func (s *Source) requireAll() error {
	if len(s.missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: HubSpot has no custom object %s (any more, or yet)", ErrUnknownObject, strings.Join(s.missing, ", "))
}
