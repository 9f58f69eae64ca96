package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// resolve finds the object types by name, each once. It asks HubSpot for the custom ones if a name is none of the standard
// ones.
func resolve(ctx context.Context, client *hubspot.Client, names []string) ([]hubspot.Object, error) {
	var objects, custom []hubspot.Object
	asked := false
	for _, name := range names {
		object, ok := hubspot.ObjectByName(name)
		switch {
		case ok:
		case name == ownersObject:
			object, ok = hubspot.Object{Name: ownersObject, Singular: "owner"}, true
		case name == "pipelines": // they come with their object
			continue
		}
		if !ok {
			if !asked {
				var err error
				if custom, err = client.CustomObjects(ctx); err != nil {
					return nil, fmt.Errorf("look up custom object %q: %w", name, err)
				}
				asked = true
			}
			i := slices.IndexFunc(custom, func(o hubspot.Object) bool { return isNamed(o, name) })
			if i < 0 {
				return nil, unknownObject(name, custom)
			}
			object = custom[i]
		}
		if !slices.ContainsFunc(objects, func(o hubspot.Object) bool { return o.Name == object.Name }) {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

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
