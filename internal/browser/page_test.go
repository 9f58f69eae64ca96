package browser

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// answers finds the words that answer each of the four questions, and where they end on the screen.
const answers = `[
	["#verdict h2", /well|attention|Healthy|Starting/],
	["#answers .card:nth-child(1) .big", /^deals (\d+ (s|min|h|d) ago|not yet)$/],
	["#answers .card:nth-child(2) .big", /^(done|\d+ %|waiting)$/],
	["#answers .card:nth-child(3) .big", /^\d+ % left$/]
].map(([where, words]) => {
	const e = document.querySelector(where), r = e.getBoundingClientRect(), s = getComputedStyle(e);
	return {where, text: e.innerText.trim(), found: words.test(e.innerText.trim()), top: r.top, left: r.left, right: r.right, bottom: r.bottom, size: parseFloat(s.fontSize), cut: e.scrollWidth > e.clientWidth + 1};
})`

func TestTheFourAnswersAreOnTheFirstScreen(t *testing.T) {
	address, _ := up(t)
	for _, s := range screens {
		t.Run(s.name, func(t *testing.T) {
			b := open(t, s, address)
			b.is("the full read ends", `document.querySelector("#verdict h2").innerText == "All is well"`)
			b.is("it is live", `document.getElementById("live").innerText == "live"`)
			var found []struct {
				Where, Text                            string
				Found, Cut                             bool
				Top, Left, Right, Bottom, Size, Before float64
			}
			var overflow, background float64
			b.do(chromedp.Evaluate(answers, &found),
				chromedp.Evaluate(`document.documentElement.scrollWidth - window.innerWidth`, &overflow),
				chromedp.Evaluate(`getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3`, &background))
			for i, a := range found {
				if !a.Found {
					t.Errorf("%s answers %q", a.Where, a.Text)
				}
				if a.Bottom > float64(s.height) || a.Right > float64(s.width) || a.Left < 0 || a.Cut || a.Size < 15 {
					t.Errorf("%s is not on the first screen, or not readable: %+v", a.Where, a)
				}
				if i > 0 && (a.Top < found[i-1].Top || a.Top == found[i-1].Top && a.Left < found[i-1].Left) {
					t.Errorf("%s stands before what is asked first", a.Where)
				}
			}
			if overflow > 0 {
				t.Errorf("the page is %v wider than the screen", overflow)
			}
			if s.dark != (background < 128) {
				t.Errorf("dark %v, but the background is %v", s.dark, background)
			}
			shoot(b, s)
		})
	}
}

// shoot keeps a picture where HUBTAIL_TEST_SCREENSHOTS names a directory.
func shoot(b *tab, s screen) {
	dir := os.Getenv("HUBTAIL_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture []byte
	height := float64(s.height) * 1.45
	if s.phone {
		height = float64(s.height) * 1.9
	}
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		picture, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).WithClip(&page.Viewport{Width: float64(s.width), Height: height, Scale: 1}).Do(ctx)
		return err
	}))
	if err := os.WriteFile(filepath.Join(dir, "status-"+s.name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func TestThePageIsLiveAndSaysWhenItIsNot(t *testing.T) {
	address, process := up(t)
	if process == nil {
		t.Skip("it stops the process, which is not ours")
	}
	b := open(t, screens[0], address)
	b.do(chromedp.Evaluate(`window.stays = true; document.querySelector("#objects h2").dataset.mark = "kept"`, nil))
	b.is("all is well, without being loaded again", `document.querySelector("#verdict h2").innerText == "All is well" && window.stays`)
	b.is("the plots go on", `document.querySelectorAll("#plots polyline").length > 0 && window.stays`)
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.is("it says that hubtail is gone", `document.getElementById("live").innerText.startsWith("no answer") && document.documentElement.classList.contains("lost")`)
}

func TestNothingIsAskedOfOthersAndNothingIsRefused(t *testing.T) {
	address, _ := up(t)
	b := open(t, screens[0], address)
	b.is("it is live", `document.getElementById("live").innerText == "live"`)
	b.is("inline code is refused", `(() => { const s = document.createElement("script"); s.textContent = "window.injected = true"; document.body.append(s); return !window.injected; })()`)
	own, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.asked, func(host string) bool { return host != own.Host }); i >= 0 || len(b.asked) < 2 {
		t.Errorf("asked: %v", b.asked)
	}
	if len(b.messages) > 0 {
		t.Errorf("the browser says: %s", strings.Join(b.messages, "\n"))
	}
}
