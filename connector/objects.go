package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// allObjects is the name for every object type that the token may read: the standard ones, the custom ones and the owners.
const allObjects = "all"

// selection is what a configuration's names of object types mean.
type selection struct {
	objects  []hubspot.Object
	optional map[string]bool // those that nobody named: one that cannot be read is left out
	refused  []ObjectStatus  // names that could not be looked up, because the token may not
	missing  []string        // names of custom ones that the portal does not have
}

// resolve finds the object types by name, each once. It asks HubSpot for the custom ones if a name is none of the standard
// ones.
func resolve(ctx context.Context, client *hubspot.Client, names []string) (selection, error) {
	return resolver{client: client}.resolve(ctx, names)
}

// resolveNow is resolve for a source that runs: names that mean nothing any more are missing, as custom ones that are not
// there yet always are.
func resolveNow(ctx context.Context, client *hubspot.Client, names []string) (selection, error) {
	return resolver{client: client, running: true}.resolve(ctx, names)
}

func (r resolver) resolve(ctx context.Context, names []string) (selection, error) {
	for _, name := range names {
		if err := r.add(ctx, name); err != nil {
			return selection{}, err
		}
	}
	if len(r.objects) == 0 && r.forbidden != nil {
		return selection{}, r.forbidden
	}
	return r.selection, nil
}

// resolver makes a selection, name by name.
type resolver struct {
	selection
	client    *hubspot.Client
	running   bool // what a name once meant may be gone
	asked     bool // for the custom object types
	custom    []hubspot.Object
	forbidden error // why the custom object types are not known
}

func (r *resolver) add(ctx context.Context, name string) error {
	object, ok := hubspot.ObjectByName(name)
	switch {
	case ok:
	case name == allObjects:
		return r.addAll(ctx)
	case name == ownersObject:
		object = owners
	case name == "pipelines": // they come with their object
		return nil
	default:
		if err := r.ask(ctx); err != nil {
			return fmt.Errorf("look up custom object %q: %w", name, err)
		}
		if r.forbidden != nil {
			r.refuse(name)
			return nil
		}
		i := slices.IndexFunc(r.custom, func(o hubspot.Object) bool { return isNamed(o, name) })
		if i < 0 && (r.running || strings.HasPrefix(name, "p_")) {
			r.missing = append(r.missing, name)
			return nil
		}
		if i < 0 {
			return unknownObject(name, r.custom)
		}
		object = r.custom[i]
	}
	delete(r.optional, object.Name)
	r.take(object)
	return nil
}

// addAll adds every object type there is, as optional.
func (r *resolver) addAll(ctx context.Context) error {
	if err := r.ask(ctx); err != nil {
		return fmt.Errorf("look up custom objects: %w", err)
	}
	if r.forbidden != nil {
		r.refuse("custom objects")
	}
	if r.optional == nil {
		r.optional = make(map[string]bool)
	}
	for _, o := range slices.Concat(hubspot.Objects(), r.custom, []hubspot.Object{owners}) {
		if r.take(o) {
			r.optional[o.Name] = true
		}
	}
	return nil
}

// ask reads the custom object types once. That the token may not is no error: the standard types do without.
func (r *resolver) ask(ctx context.Context) (err error) {
	if r.asked {
		return nil
	}
	r.asked = true
	if r.custom, err = r.client.CustomObjects(ctx); errors.Is(err, hubspot.ErrForbidden) {
		r.forbidden = err
		return nil
	}
	return err
}

func (r *resolver) refuse(name string) {
	r.refused = append(r.refused, ObjectStatus{Object: name, Phase: PhaseForbidden, LastError: r.forbidden.Error()})
}

func (r *resolver) take(object hubspot.Object) bool {
	if slices.ContainsFunc(r.objects, func(o hubspot.Object) bool { return o.Name == object.Name }) {
		return false
	}
	r.objects = append(r.objects, object)
	return true
}

// owners are no CRM objects, see roster.
var owners = hubspot.Object{Name: ownersObject, Singular: "owner"}

// isNamed reports whether name means the object type: its name, singular, type id, or a custom object's own names.
func isNamed(o hubspot.Object, name string) bool {
	return name == o.Name || name == o.Singular || name != "" && (name == o.TypeID || name == o.FullyQualifiedName)
}

// ErrUnknownObject says that no object type has a name that the configuration asks for.
var ErrUnknownObject = errors.New("unknown object")

func unknownObject(name string, custom []hubspot.Object) error {
	var known []string
	for _, o := range append(hubspot.Objects(), custom...) {
		known = append(known, o.Name)
	}
	known = append(known, ownersObject)
	return fmt.Errorf("%w %q: neither a standard type nor a custom one of this portal; there are %s", ErrUnknownObject, name, strings.Join(known, ", "))
}

// hasPipelines reports whether records of the type move through pipelines. Custom ones do if they have the property.
func hasPipelines(o hubspot.Object, properties []string) bool {
	if o.FullyQualifiedName != "" {
		return slices.Contains(properties, "hs_pipeline")
	}
	switch o.Name {
	case "deals", "tickets", "leads", "orders", "carts", "services", "appointments", "courses", "listings":
		return true
	}
	return false
}
