package simulator

// eventKind is what happened to a record, as webhooks name it.
type eventKind string

const (
	kindCreation          eventKind = "creation"
	kindPropertyChange    eventKind = "propertyChange"
	kindDeletion          eventKind = "deletion"
	kindRestore           eventKind = "restore"
	kindMerge             eventKind = "merge"
	kindAssociationChange eventKind = "associationChange"
	kindPrivacyDeletion   eventKind = "privacyDeletion"
)

// event is a change that webhooks may tell about.
type event struct {
	kind     eventKind
	table    *table
	id       int64
	at       int64 // epoch ms
	property string
	value    string

	other   *table // of an association
	otherID int64
	removed bool

	primary int64 // of a merge; the result is id
	merged  []int64
	moved   int
}

func (t *table) event(kind eventKind, r *record) event {
	return event{kind: kind, table: t, id: r.id, at: t.portal.nowMS()}
}
