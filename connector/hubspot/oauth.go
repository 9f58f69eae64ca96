package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// tokens hands out the access token: the private app's, or one that is refreshed before it expires.
type tokens struct {
	c   *core
	one chan struct{} // holds a value while somebody refreshes

	mu      sync.Mutex // guards everything below
	access  string
	refresh string
	expires time.Time
}

func newTokens(c *core) *tokens {
	t := &tokens{c: c, access: c.cfg.Token, one: make(chan struct{}, 1)}
	if c.cfg.OAuth != nil {
		t.refresh = c.cfg.OAuth.RefreshToken
	}
	return t
}

// get returns a token that is good for a while. Only one caller at a time refreshes, the others wait for its result.
func (t *tokens) get(ctx context.Context) (string, error) {
	if t.c.cfg.OAuth == nil {
		return t.access, nil
	}
	if access := t.current(); access != "" {
		return access, nil
	}
	select {
	case t.one <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-t.one }()
	if access := t.current(); access != "" { // refreshed by another caller meanwhile
		return access, nil
	}
	if err := t.renew(ctx); err != nil {
		return "", fmt.Errorf("refresh access token: %w", err)
	}
	return t.current(), nil
}

// current returns the access token, "" when it is about to expire. HubSpot rule: it lives for expires_in seconds (1,800); a
// 401 is no sure sign that it has expired.
func (t *tokens) current() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Until(t.expires) <= 0 {
		return ""
	}
	return t.access
}

// rejected makes the next call refresh, unless that has happened since token was handed out.
func (t *tokens) rejected(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.access == token {
		t.expires = time.Time{}
	}
}

func (t *tokens) renew(ctx context.Context) error {
	t.mu.Lock()
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {t.refresh},
		"client_id": {t.c.cfg.OAuth.ClientID}, "client_secret": {t.c.cfg.OAuth.ClientSecret},
	}
	t.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.c.base+"/oauth/v3/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "hubtail")
	t.c.usage.sent(kindToken, 1)
	asked := time.Now()
	resp, err := t.c.http.Do(req)
	if err != nil {
		return t.c.unreached(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		e := readError(resp.StatusCode, resp.Header, body, time.Now())
		for name := range form {
			if name != "grant_type" {
				e.Message = strings.ReplaceAll(e.Message, form.Get(name), "["+name+"]")
			}
		}
		return e
	}
	return t.store(body, asked)
}

func (t *tokens) store(body []byte, asked time.Time) error {
	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return errors.New("answer has no access token")
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	if life <= 0 {
		life = 30 * time.Minute
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.access = answer.AccessToken
	if answer.RefreshToken != "" {
		t.refresh = answer.RefreshToken
	}
	// Early enough that a request sent with it still arrives in time.
	t.expires = asked.Add(life - min(life/10, 2*time.Minute))
	return nil
}
