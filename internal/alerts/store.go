package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// errTaken says that another process wrote the key meanwhile.
var errTaken = errors.New("another process looks after the incident")

// storeBound is how long the bucket may take.
const storeBound = 5 * time.Second

// store is the KV bucket.
type store struct {
	open func(context.Context) (jetstream.KeyValue, error)
	kv   jetstream.KeyValue // nil until it could be opened
}

func (s *store) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	if s.kv != nil {
		return s.kv, nil
	}
	if s.open == nil {
		return nil, errors.New("there is no bucket")
	}
	kv, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.kv = kv
	return kv, nil
}

// load returns the incident of a key, nil if there is none.
func (s *store) load(ctx context.Context, key string) (*incident, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeBound)
	defer cancel()
	kv, err := s.bucket(ctx)
	if err != nil {
		return nil, 0, err
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read incident %s: %w", key, err)
	}
	var i incident
	if err := json.Unmarshal(entry.Value(), &i); err != nil {
		return nil, entry.Revision(), nil // of another version: it is written anew
	}
	return &i, entry.Revision(), nil
}

// save writes an incident over a revision, 0 if there must be none; it returns the new one.
func (s *store) save(ctx context.Context, i *incident, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeBound)
	defer cancel()
	kv, err := s.bucket(ctx)
	if err != nil {
		return 0, err
	}
	value, err := json.Marshal(i)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		revision, err = kv.Create(ctx, i.Key, value)
	} else {
		revision, err = kv.Update(ctx, i.Key, value, revision)
	}
	return revision, taken(i.Key, err)
}

func (s *store) remove(ctx context.Context, key string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, storeBound)
	defer cancel()
	kv, err := s.bucket(ctx)
	if err != nil {
		return err
	}
	return taken(key, kv.Delete(ctx, key, jetstream.LastRevision(revision)))
}

// taken tells a lost race from a bucket that does not answer.
func taken(key string, err error) error {
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("write incident %s: %w", key, err)
	}
	return nil
}
