package sink

// AfterRebuildStep lets tests do something between two steps of the rebuilds of a sink.
func AfterRebuildStep(s *Sink, f func(phase string)) { s.afterStep = f }
