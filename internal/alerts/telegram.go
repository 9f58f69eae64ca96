package alerts

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/util/jsonclient"
)

// trustOnlyAnswers makes the library's JSON client give every failure a body that says why. Without it, its Telegram takes a
// server that cannot be reached, or answers something else than Telegram does, for one that took the message
// (shoutrrr v0.13.2: GetErrorResponse returns nil for a body that is no JSON).
var trustOnlyAnswers = sync.OnceFunc(func() {
	jsonclient.DefaultClient = jsonclient.NewWithHTTPClient(&http.Client{Transport: telegramAnswers{}, Timeout: 20 * time.Second})
})

// telegramAnswers turns whatever is not Telegram's "ok" into a refusal in Telegram's own form.
type telegramAnswers struct{}

const (
	telegramHost = "api.telegram.org"
	mostAnswered = 1 << 20
)

func (telegramAnswers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if req.URL.Hostname() != telegramHost {
		return resp, err
	}
	if err != nil {
		return telegramRefusal(req, http.StatusBadGateway, "no answer: "+strings.ReplaceAll(err.Error(), req.URL.String(), "Telegram")), nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswered))
	_ = resp.Body.Close()
	var answer struct {
		OK          bool   `json:"ok"`
		Description string `json:"description"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil || !answer.OK {
		if answer.Description == "" {
			answer.Description = "not Telegram's answer, but " + resp.Status
		}
		return telegramRefusal(req, max(resp.StatusCode, http.StatusBadRequest), answer.Description), nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func telegramRefusal(req *http.Request, code int, why string) *http.Response {
	body, _ := json.Marshal(map[string]any{"ok": false, "error_code": code, "description": why}) // of a bool, a number and a text
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: req,
	}
}
