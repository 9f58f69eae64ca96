package main

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func TestACustomObjectThatAppearsGetsItsTableAtRunTime(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.CustomObjects = []simulator.CustomObject{{Name: "cars", Count: 25, Archived: true}}
	s := newStack(t, portal)
	s.env = []string{"HUBTAIL_DEFINITIONS_INTERVAL=300ms"}
	s.start("source", "--objects", "contacts,p_cars")
	s.start("sink")
	s.eventually(time.Minute, "contacts are in the table", func() bool {
		return s.count("select count(*) from pg_class where relname = 'contacts' and relkind = 'r'") == 1 && s.count("select count(*) from hubspot.contacts") > 100
	})
	if n := s.count("select count(*) from pg_class where relname = 'p_cars'"); n != 0 {
		t.Fatal("there is a table already")
	}
	if err := s.simulator.ArchiveSchema("cars", false); err != nil {
		t.Fatal(err)
	}
	s.eventually(time.Minute, "cars are in their table", func() bool {
		return s.count("select count(*) from pg_class where relname = 'p_cars' and relkind = 'r'") == 1 && s.count("select count(*) from hubspot.p_cars") == 25
	})
	if n := s.count("select count(*) from hubspot.properties where object = 'p_cars' and column_name is not null"); n == 0 {
		t.Error("cars have no columns")
	}
}
