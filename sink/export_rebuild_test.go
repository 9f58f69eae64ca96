package sink

// AfterRebuildStep lets tests do something between two steps of a rebuild.
func AfterRebuildStep(f func(phase string)) { afterStep = f }
