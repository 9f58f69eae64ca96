package schemas

import (
	"fmt"
	"time"
)

// Pipelines are the pipelines of one object type, whole, on `_pipelines.<object>`.
type Pipelines struct {
	Portal    string     `json:"portal"`
	Object    string     `json:"object"`
	Pipelines []Pipeline `json:"pipelines"`
}

// Pipeline is a pipeline with its stages.
type Pipeline struct {
	ID           string    `json:"id"`
	Label        string    `json:"label"`
	DisplayOrder int       `json:"display_order"`
	Archived     bool      `json:"archived,omitempty"`
	CreatedAt    time.Time `json:"created_at,omitzero"`
	UpdatedAt    time.Time `json:"updated_at,omitzero"`
	Stages       []Stage   `json:"stages"`
}

// Stage is one stage of a pipeline. Metadata values are strings, as HubSpot sends them ("isClosed": "false").
type Stage struct {
	ID           string            `json:"id"`
	Label        string            `json:"label"`
	DisplayOrder int               `json:"display_order"`
	Archived     bool              `json:"archived,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	CreatedAt    time.Time         `json:"created_at,omitzero"`
	UpdatedAt    time.Time         `json:"updated_at,omitzero"`
}

// Subject returns where the message travels.
func (p *Pipelines) Subject() Subject {
	return Subject{Kind: KindPipelines, Portal: p.Portal, Object: p.Object}
}

func (*Pipelines) schema() string { return "pipelines" }

func (p *Pipelines) normalise() {
	p.Pipelines = orEmpty(p.Pipelines)
	for i := range p.Pipelines {
		pipeline := &p.Pipelines[i]
		milliseconds(&pipeline.CreatedAt)
		milliseconds(&pipeline.UpdatedAt)
		pipeline.Stages = orEmpty(pipeline.Stages)
		for j := range pipeline.Stages {
			milliseconds(&pipeline.Stages[j].CreatedAt)
			milliseconds(&pipeline.Stages[j].UpdatedAt)
		}
	}
}

func (p *Pipelines) check() error {
	if p.Pipelines == nil {
		return errMissing("pipelines")
	}
	for _, pipeline := range p.Pipelines {
		if pipeline.ID == "" {
			return fmt.Errorf("pipeline %q has no id", pipeline.Label)
		}
		for _, stage := range pipeline.Stages {
			if stage.ID == "" {
				return fmt.Errorf("stage %q of pipeline %s has no id", stage.Label, pipeline.ID)
			}
		}
	}
	return nil
}
