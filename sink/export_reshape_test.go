package sink

import "time"

// SetShapeIdle lets tests wait less for a sink that looks what others left behind.
func SetShapeIdle(c *Config, d time.Duration) { c.shapeIdle = d }
