package sink

import (
	"fmt"
	"strings"
)

// exposedColumn is a column of an exposed view, which has its table's name for it.
type exposedColumn struct{ name, typ string }

// createViewSQL returns the view. Postgres rule: with security_invoker the caller's rights and policies count on the table
// below; without it the owner's would, who passes row level security. With security_barrier, no condition of a caller is
// evaluated on rows that the view hides.
func createViewSQL(schema string, e *exposed, columns []exposedColumn) string {
	where := ""
	if condition := e.hidden(); condition != "" {
		where = "\nwhere " + condition
	}
	return fmt.Sprintf("create or replace view %s with (security_invoker = true, security_barrier = true) as\nselect %s\nfrom %s%s",
		e.View, columnList(columns), quote(schema, e.table), where)
}

// hidden returns the condition that hides rows whatever the policies say, "" for a table that has no such rows.
func (e *exposed) hidden() string {
	switch {
	case staticTables[e.table]:
		return ""
	case e.Archived:
		return "not _purged"
	}
	return "not _archived"
}

func columnList(columns []exposedColumn) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c.name)
	}
	return strings.Join(names, ", ")
}

// viewRightsSQL returns the grants that the view needs: on itself, and on the columns below it, since the caller's rights
// count there. The roles of the Data API get nothing that was not asked for.
func viewRightsSQL(schema string, e *exposed, columns []exposedColumn, publicRoles []string) []string {
	roles := make([]string, len(e.Roles))
	for i, role := range e.Roles {
		roles[i] = quote(role)
	}
	to := strings.Join(roles, ", ")
	closed := "public"
	for _, role := range publicRoles {
		closed += ", " + quote(role)
	}
	base := columnList(columns)
	if flag, found := strings.CutPrefix(e.hidden(), "not "); found && !strings.Contains(base, quote(flag)) {
		base += ", " + quote(flag)
	}
	return []string{
		fmt.Sprintf("comment on view %s is %s", e.View, literal("HubSpot "+e.Object+", exposed by hubtail")),
		fmt.Sprintf("revoke all on table %s from %s", e.View, closed),
		fmt.Sprintf("grant select on table %s to %s", e.View, to),
		fmt.Sprintf("grant select (%s) on table %s to %s", base, quote(schema, e.table), to),
	}
}

// policySQL returns the policy that lets the roles see rows of the table, "" if that is left to the owner's own ones.
// Archived rows are hidden by the policy too, so that nothing but the view has to be trusted; Realtime tells of archiving
// as a change of a row that is still visible.
func policySQL(schema string, e *exposed) string {
	if e.Policy == PolicyNone {
		return ""
	}
	condition := "(" + e.Policy + "\n)" // a comment at its end must not swallow the parenthesis
	if hidden := e.hidden(); hidden != "" {
		if e.Realtime {
			hidden = "not _purged"
		}
		condition = hidden + " and " + condition
	}
	roles := make([]string, len(e.Roles))
	for i, role := range e.Roles {
		roles[i] = quote(role)
	}
	return fmt.Sprintf("create policy %s on %s for select to %s using (%s)", quote(policyName), quote(schema, e.table), strings.Join(roles, ", "), condition)
}

func dropPolicySQL(schema string, e *exposed) string {
	return fmt.Sprintf("drop policy if exists %s on %s", quote(policyName), quote(schema, e.table))
}
