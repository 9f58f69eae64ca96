package sink

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/schemas"
)

// applyDefinitions notes the property definitions of an object type, in one transaction with the position. It needs no
// lock on the table: the columns follow, see reshape.
func (a *Applier) applyDefinitions(ctx context.Context, d *schemas.PropertyDefinitions, seq, position uint64) error {
	err := a.changeTable(ctx, d.Object, func(tx pgx.Tx) error {
		if err := a.ensureTable(ctx, tx, d.Object, d.ObjectTypeID); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update `+quote(a.schema, "objects")+` set definitions_seq = $2, reshape = true,
			object_type_id = coalesce(nullif($3, ''), object_type_id) where object = $1 and definitions_seq < $2`,
			d.Object, int64(seq), d.ObjectTypeID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 {
			if err := a.noteProperties(ctx, tx, d, int64(seq)); err != nil {
				return err
			}
		}
		return a.writePosition(ctx, tx.Conn().PgConn(), seq, position)
	})
	if err != nil {
		return err
	}
	return a.reshapeSoon(ctx, d.Object)
}

// definition is a property as it travels to the catalogue.
type definition struct {
	schemas.Property
	Options []schemas.Option `json:"options,omitempty"`
}

// noteProperties writes the definitions to the catalogue. Which columns there are is not changed.
func (a *Applier) noteProperties(ctx context.Context, tx pgx.Tx, d *schemas.PropertyDefinitions, seq int64) error {
	seen := make(map[string]bool, len(d.Properties))
	definitions := make([]definition, 0, len(d.Properties))
	for _, p := range d.Properties {
		p = cleanProperty(p)
		if !seen[p.Name] {
			seen[p.Name] = true
			definitions = append(definitions, definition{p, p.Options})
		}
	}
	rows, err := json.Marshal(definitions)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into `+quote(a.schema, "properties")+` as p
		(object, name, label, type, field_type, description, group_name, options,
		 calculated, hidden, has_unique_value, hubspot_defined, archived, _seq)
		select $1, r.name, coalesce(r.label, ''), r.type, coalesce(r.field_type, ''),
		coalesce(r.description, ''), coalesce(r.group_name, ''), r.options, coalesce(r.calculated, false), coalesce(r.hidden, false),
		coalesce(r.has_unique_value, false), coalesce(r.hubspot_defined, false), coalesce(r.archived, false), $2
		from jsonb_to_recordset($3::text::jsonb) as r(name text, label text, type text, field_type text,
		description text, group_name text, options jsonb, calculated boolean, hidden boolean, has_unique_value boolean,
		hubspot_defined boolean, archived boolean)
		on conflict (object, name) do update set
		label = excluded.label, type = excluded.type, field_type = excluded.field_type, description = excluded.description,
		group_name = excluded.group_name, options = excluded.options, calculated = excluded.calculated, hidden = excluded.hidden,
		has_unique_value = excluded.has_unique_value, hubspot_defined = excluded.hubspot_defined, archived = excluded.archived,
		_seq = excluded._seq`, d.Object, seq, string(rows)); err != nil {
		return err
	}
	// What HubSpot's list no longer has is archived or deleted there; here the column and its values stay.
	_, err = tx.Exec(ctx, `update `+quote(a.schema, "properties")+` set archived = true where object = $1 and _seq < $2 and not archived`,
		d.Object, seq)
	return err
}

// cleanProperty makes a definition storable, and its empty list of options null.
func cleanProperty(p schemas.Property) schemas.Property {
	p.Name, p.Label, p.Type, p.FieldType = clean(p.Name), clean(p.Label), clean(p.Type), clean(p.FieldType)
	p.Description, p.GroupName = clean(p.Description), clean(p.GroupName)
	options := p.Options
	p.Options = nil
	for _, o := range options {
		p.Options = append(p.Options, schemas.Option{Value: clean(o.Value), Label: clean(o.Label), Hidden: o.Hidden})
	}
	return p
}
