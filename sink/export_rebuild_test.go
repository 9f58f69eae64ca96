package sink

// AfterRebuildStep lets tests do something between two steps of the rebuilds of a sink.
func AfterRebuildStep(s *Sink, f func(phase string)) { s.afterStep = f }

// LinkColumns returns the columns that the tables of links are known to have.
func LinkColumns() map[string][]string {
	columns := make(map[string][]string)
	for table, c := range linkColumnNames {
		columns[table] = c.all
	}
	return columns
}
