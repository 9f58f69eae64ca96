package simulator_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hubtail/hubtail/connector/simulator"
)

func ExampleSimulator_Start() {
	s := simulator.New(simulator.Options{Contacts: 3, Latency: -1})
	url, err := s.Start("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()

	id, err := s.Create("deals", map[string]string{"dealname": "Boat", "amount": "1200"})
	if err != nil {
		fmt.Println(err)
		return
	}
	req, err := http.NewRequest("GET", url+"/crm/v3/objects/deals/"+id+"?properties=amount,dealname", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer pat-simulator")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	_, properties, _ := strings.Cut(string(body), `"properties":`)
	properties, _, _ = strings.Cut(properties, `,"createdAt"`)
	fmt.Println(res.StatusCode, properties, err)
	// Output: 200 {"amount":"1200","dealname":"Boat"} <nil>
}
