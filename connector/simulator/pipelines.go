package simulator

// Pipeline is the stages that records of one object type move through.
type Pipeline struct {
	ID        string  `json:"id"`
	Label     string  `json:"label"`
	Order     int     `json:"displayOrder"`
	Archived  bool    `json:"archived"`
	CreatedAt string  `json:"createdAt"`
	UpdatedAt string  `json:"updatedAt"`
	Stages    []Stage `json:"stages"`
}

// Stage is one stage of a pipeline; its metadata are strings.
type Stage struct {
	ID        string            `json:"id"`
	Label     string            `json:"label"`
	Order     int               `json:"displayOrder"`
	Metadata  map[string]string `json:"metadata"`
	Archived  bool              `json:"archived"`
	CreatedAt string            `json:"createdAt"`
	UpdatedAt string            `json:"updatedAt"`
}

func startPipelines() map[string][]Pipeline {
	at := string(appendTime(nil, firstDay))
	make1 := func(id, label string, stages ...[3]string) Pipeline {
		p := Pipeline{ID: id, Label: label, CreatedAt: at, UpdatedAt: at}
		for i, s := range stages {
			closed := "false"
			if s[2] == "0.0" || s[2] == "1.0" || s[2] == "CLOSED" {
				closed = "true"
			}
			metadata := map[string]string{"isClosed": closed, "probability": s[2]}
			if s[2] == "OPEN" || s[2] == "CLOSED" {
				metadata = map[string]string{"isClosed": closed, "ticketState": s[2]}
			}
			p.Stages = append(p.Stages, Stage{ID: s[0], Label: s[1], Order: i, Metadata: metadata, CreatedAt: at, UpdatedAt: at})
		}
		return p
	}
	return map[string][]Pipeline{
		"deals": {make1("default", "Sales Pipeline",
			[3]string{"appointmentscheduled", "Appointment Scheduled", "0.2"}, [3]string{"qualifiedtobuy", "Qualified To Buy", "0.4"},
			[3]string{"presentationscheduled", "Presentation Scheduled", "0.6"}, [3]string{"decisionmakerboughtin", "Decision Maker Bought-In", "0.8"},
			[3]string{"contractsent", "Contract Sent", "0.9"}, [3]string{"closedwon", "Closed Won", "1.0"}, [3]string{"closedlost", "Closed Lost", "0.0"})},
		"tickets": {make1("0", "Support Pipeline",
			[3]string{"1", "New", "OPEN"}, [3]string{"2", "Waiting on contact", "OPEN"}, [3]string{"3", "Waiting on us", "OPEN"}, [3]string{"4", "Closed", "CLOSED"})},
		"contacts": {make1("contacts-lifecycle-pipeline", "Lifecycle Stage Pipeline",
			[3]string{"subscriber", "Subscriber", "0.1"}, [3]string{"lead", "Lead", "0.2"}, [3]string{"customer", "Customer", "1.0"})},
		"leads": {make1("lead-pipeline-id", "Lead Pipeline", [3]string{"new-stage-id", "New", "0.1"}, [3]string{"qualified-stage-id", "Qualified", "1.0"})},
	}
}
