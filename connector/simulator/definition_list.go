package simulator

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed definitions
var definitionFiles embed.FS

// startDefinitions returns an object type's definitions at the start: HubSpot's own and the odd custom ones.
func startDefinitions(t *table) *definitions {
	var list []*property
	for _, p := range standardProperties(t.object.Name) {
		p.HubSpotDefined = true
		list = append(list, newProperty(p))
	}
	for _, p := range list {
		prepare(p, t)
	}
	if t.custom != nil {
		list = append(list, customProperties(t)...)
	}
	if !t.portal.opts.NoOddities {
		list = append(list, oddities(t)...)
	}
	if t.object.Name == "contacts" && t.portal.opts.Properties > 0 {
		list = resize(list, t)
	}
	return newDefinitions(list)
}

// standardProperties reads HubSpot's own definitions of an object type.
func standardProperties(object string) []Property {
	if object == "contacts" {
		return readDefinitions("contacts.txt", "", object)
	}
	own := readDefinitions(object+".txt", "", object)
	if own == nil {
		own = readDefinitions("others.txt", object, object)
	}
	return append(own, readDefinitions("common.txt", "", object)...)
}

// readDefinitions parses a definition file, or the section of it.
func readDefinitions(file, section, object string) []Property {
	text, err := definitionFiles.ReadFile("definitions/" + file)
	if err != nil {
		return nil
	}
	singular := strings.TrimSuffix(object, "s")
	current := ""
	var list []Property
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			current = strings.TrimSuffix(name, "]")
		}
		f := strings.Fields(line)
		if len(f) != 6 || strings.HasPrefix(line, "#") || current != section {
			continue
		}
		n, _ := strconv.Atoi(f[5])
		list = append(list, Property{
			Name: f[0], Type: f[1], FieldType: f[2], Group: strings.ReplaceAll(f[3], "@", singular),
			Calculated: strings.Contains(f[4], "c"), Hidden: strings.Contains(f[4], "h"),
			Unique: strings.Contains(f[4], "u"), ReadOnly: strings.Contains(f[4], "r"), Options: startOptions(f[0], n),
		})
	}
	return list
}

const sources = "ORGANIC_SEARCH PAID_SEARCH EMAIL_MARKETING SOCIAL_MEDIA REFERRALS OTHER_CAMPAIGNS DIRECT_TRAFFIC OFFLINE PAID_SOCIAL"

// knownOptions are the choices of enumerations that everyone knows; the others get numbered ones.
var knownOptions = map[string]string{
	"lifecyclestage": "subscriber lead marketingqualifiedlead salesqualifiedlead opportunity customer evangelist other",
	"hs_lead_status": "NEW OPEN IN_PROGRESS OPEN_DEAL UNQUALIFIED ATTEMPTED_TO_CONTACT CONNECTED BAD_TIMING",
	"dealtype":       "newbusiness existingbusiness", "hs_call_direction": "INBOUND OUTBOUND",
	"hs_analytics_source": sources, "hs_latest_source": sources, "hs_analytics_latest_source": sources,
	"hs_ticket_priority": "LOW MEDIUM HIGH URGENT", "hs_priority": "low medium high",
}

func startOptions(property string, n int) []Option {
	if known := knownOptions[property]; known != "" {
		var list []Option
		for _, value := range strings.Fields(known) {
			list = append(list, Option{Label: labelOf(strings.ToLower(value)), Value: value})
		}
		return list
	}
	list := make([]Option, n)
	for i := range list {
		list[i] = Option{Label: fmt.Sprintf("Option %d", i+1), Value: fmt.Sprintf("option_%d", i+1)}
	}
	if n == 2 {
		list[0], list[1] = Option{Label: "True", Value: "true"}, Option{Label: "False", Value: "false"}
	}
	return list
}

// customProperties are the ordinary definitions of a custom object.
func customProperties(t *table) []*property {
	var list []*property
	for _, p := range []Property{
		{Name: "name", Type: "string", Unique: false}, {Name: "reference", Unique: true},
		{Name: "mileage", Type: "number", FieldType: "number"}, {Name: "bought_on", Type: "date", FieldType: "date"},
		{Name: "is_new", Type: "bool", FieldType: "booleancheckbox"},
		{Name: "color", Type: "enumeration", FieldType: "select", Options: startOptions("color", 7)},
	} {
		p.Group = t.custom.Name + "_information"
		d := newProperty(p)
		prepare(d, t)
		d.fill = share(0.8)
		list = append(list, d)
	}
	return list
}

// resize brings the contacts' definitions to the number asked for: further custom ones of all types, or fewer.
func resize(list []*property, t *table) []*property {
	want := t.portal.opts.Properties
	types := []Property{
		{Type: "string"}, {Type: "number", FieldType: "number"}, {Type: "datetime", FieldType: "date"}, {Type: "date", FieldType: "date"},
		{Type: "bool", FieldType: "booleancheckbox"}, {Type: "enumeration", FieldType: "select", Options: startOptions("", 5)},
	}
	for i := 0; len(list) < want; i++ {
		p := types[i%len(types)]
		p.Name, p.Group = fmt.Sprintf("extra_%04d", i+1), "extra"
		d := newProperty(p)
		prepare(d, t)
		list = append(list, d)
	}
	kept := list[:0:0]
	needed := len(t.object.DefaultProperties) + 1
	for _, p := range list {
		essential := p.system != notSystem || p.Name == "hs_merged_object_ids" || containsName(t.object.DefaultProperties, p.Name)
		if essential {
			needed--
		}
		if essential || len(kept)+needed < want {
			kept = append(kept, p)
		}
	}
	return kept
}

func containsName(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
