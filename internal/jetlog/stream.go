package jetlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// DefaultStream is the name of the log unless configured otherwise.
	DefaultStream = "HUBSPOT"

	// Subjects is what the log holds: everything under one word.
	Subjects = "hubspot.>"

	// History is how many events the log keeps of one record. The last one is
	// the record's full state, so the log always holds the whole current CRM.
	History = 16

	// errSubjectOverlap is the server's code for subjects another stream has.
	errSubjectOverlap jetstream.ErrorCode = 10065

	waitStep = 500 * time.Millisecond
)

// ErrDangerousStream is returned by Ensure when the existing stream could lose
// the log. The error lists every reason with its remedy.
var ErrDangerousStream = errors.New("stream settings could lose data")

// StreamConfig is the log's configuration: kept in files, for ever, a bounded
// history per record. Change fields before Ensure to deviate.
func StreamConfig(name string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               name,
		Description:        "HubSpot records as an ordered, replayable log (hubtail)",
		Subjects:           []string{Subjects},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           max(replicas, 1),
		Discard:            jetstream.DiscardOld,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  History,
		Compression:        jetstream.S2Compression,
		AllowDirect:        true, // reads for the diff do not queue behind writes
		AllowAtomicPublish: true, // a page and its cursor are stored as one
		// Purge stays possible: a privacy deletion removes a record's history.
		DenyPurge: false,
	}
}

// Ensure returns the stream of cfg: created if missing; else checked, and
// raised to cfg where that is safe. It is safe to call from several processes
// at once.
func Ensure(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = create(ctx, js, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("ensure stream %s: %w", cfg.Name, err)
	}

	have := stream.CachedInfo().Config
	if err := Check(have, cfg); err != nil {
		return nil, err
	}
	if want, changed := raised(have, cfg); changed {
		stream, err = js.UpdateStream(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("update stream %s: %w", cfg.Name, err)
		}
	}
	// A server that does not know a setting drops it without a word.
	if !stream.CachedInfo().Config.AllowAtomicPublish {
		return nil, fmt.Errorf("%w: it does not support atomic batches for stream %s; hubtail needs %s or newer",
			ErrServerTooOld, cfg.Name, MinServer)
	}
	return stream, nil
}

// Wait returns the stream as soon as it exists, for consumers that start before
// the source. A server that is briefly away is waited for as well.
func Wait(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	for {
		stream, err := js.Stream(ctx, name)
		if err == nil {
			return stream, nil
		}
		if ctx.Err() == nil && !worthWaiting(err) {
			return nil, fmt.Errorf("look up stream %s: %w", name, err)
		}
		if pauseErr := pause(ctx, waitStep); pauseErr != nil {
			return nil, fmt.Errorf("wait for stream %s (the source creates it): %w: %w", name, pauseErr, err)
		}
	}
}

// Identity names this incarnation of the stream: its creation time. Sequences
// of a deleted and recreated stream mean something else, and so must a
// consumer's stored position.
func Identity(info *jetstream.StreamInfo) string {
	return info.Created.UTC().Format(time.RFC3339Nano)
}

func create(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.CreateStream(ctx, cfg)
	if err == nil {
		return stream, nil
	}
	// Another process was faster, with settings of its own: check those.
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return js.Stream(ctx, cfg.Name)
	}
	if isCode(err, errSubjectOverlap) {
		return nil, overlapError(ctx, js, cfg, err)
	}
	return nil, err
}

func overlapError(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig, err error) error {
	var owners []string
	for _, subject := range cfg.Subjects {
		lister := js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
		for name := range lister.Name() {
			owners = append(owners, name)
		}
	}
	if len(owners) == 0 {
		return err
	}
	list := strings.Join(owners, ", ")
	return fmt.Errorf("subjects %s already belong to stream %s: use it with --stream %s, or take the subjects off it "+
		"(nats stream edit %s --subjects ...): %w", strings.Join(cfg.Subjects, ", "), list, owners[0], owners[0], err)
}

// raised returns have with every safe improvement of want, and whether there
// is one. Limits are only raised and replicas only added: lowering either
// deletes data or safety, which is the operator's decision.
func raised(have, want jetstream.StreamConfig) (jetstream.StreamConfig, bool) {
	next, changed := have, false
	if want.AllowAtomicPublish && !have.AllowAtomicPublish {
		next.AllowAtomicPublish, changed = true, true
	}
	if want.AllowDirect && !have.AllowDirect {
		next.AllowDirect, changed = true, true
	}
	if have.Compression == jetstream.NoCompression && want.Compression != have.Compression {
		next.Compression, changed = want.Compression, true
	}
	if unlimited(want.MaxMsgsPerSubject) && !unlimited(have.MaxMsgsPerSubject) ||
		!unlimited(have.MaxMsgsPerSubject) && want.MaxMsgsPerSubject > have.MaxMsgsPerSubject {
		next.MaxMsgsPerSubject, changed = want.MaxMsgsPerSubject, true
	}
	if want.Replicas > have.Replicas {
		next.Replicas, changed = want.Replicas, true
	}
	for key, value := range want.Metadata {
		if have.Metadata[key] != value {
			next.Metadata = maps.Clone(have.Metadata)
			if next.Metadata == nil {
				next.Metadata = map[string]string{}
			}
			maps.Copy(next.Metadata, want.Metadata)
			changed = true
			break
		}
	}
	return next, changed
}

func unlimited(limit int64) bool { return limit <= 0 }

func worthWaiting(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		isTransport(err)
}

func isCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}
