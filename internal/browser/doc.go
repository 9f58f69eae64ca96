// Package browser looks at the status page of a running hubtail with a real browser, headless Chromium. It is a module of
// its own, so that what drives the browser is neither in the binary nor among the main module's dependencies:
//
//	make browser-test
//
// # Promises
//
//   - on a desktop, on a phone, light and dark, the four answers (is it healthy, how fresh are deals, is the backfill done, how
//     much quota is left) are on the first screen, in this order, readable and nothing is cut off
//     (TestTheFourAnswersAreOnTheFirstScreen)
//   - the page follows without being loaded again, and says so when hubtail is gone (TestThePageIsLiveAndSaysWhenItIsNot)
//   - nothing is asked of any other machine, and the browser finds nothing against the page's policy
//     (TestNothingIsAskedOfOthersAndNothingIsRefused)
package browser
