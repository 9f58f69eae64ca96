package statuspage

import (
	"fmt"
	"strings"
	"time"
)

// The picture's size in its own units; it is stretched to whatever the page has.
const plotWidth, plotHeight = 360.0, 60.0

// Top returns the highest figure, at least 1.
func (p Plot) Top() float64 {
	top := 1.0
	for _, pt := range p.Points {
		top = max(top, pt.Value)
	}
	return top
}

// Now returns the last figure.
func (p Plot) Now() float64 {
	if len(p.Points) == 0 {
		return 0
	}
	return p.Points[len(p.Points)-1].Value
}

// Lines returns the points of the lines to draw: one, or more where figures are missing in between.
func (p Plot) Lines(now time.Time) []string {
	var lines []string
	var line strings.Builder
	end := func() {
		if line.Len() > 0 {
			lines = append(lines, strings.TrimSuffix(line.String(), " "))
			line.Reset()
		}
	}
	top := p.Top()
	var before time.Time
	for _, pt := range p.Points {
		age := now.Sub(pt.At)
		if age > time.Hour || age < 0 {
			continue
		}
		if !before.IsZero() && pt.At.Sub(before) > 4*SampleEvery {
			end()
		}
		before = pt.At
		x := plotWidth * (1 - float64(age)/float64(time.Hour))
		y := plotHeight * (1 - 0.96*pt.Value/top)
		fmt.Fprintf(&line, "%.1f,%.1f ", x, y)
	}
	end()
	return lines
}
