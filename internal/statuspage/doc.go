// Package statuspage shows where a process of hubtail stands, to somebody with a browser: whether it is well, how fresh the
// records are, whether the full read is done, how much of HubSpot's quota is left, in this order; then every object type,
// the last runs, and plots of the last hour.
//
// It knows nothing of sources and sinks: a View is what it shows, and who makes it is asked for one when somebody looks.
//
//	view.go     View, all that a page says
//	page.go     the page and its live events, and what a browser may do with them
//	hosts.go    which names the page answers to
//	history.go  figures of the last hour; plot.go draws them
//	words.go    times and numbers as people read them
//	page.html, page.css, page.js are embedded: nothing comes from elsewhere
//
// # Promises
//
//   - the four answers stand in the order in which they are asked, in words (TestThePageAnswersInOrder), and what a process
//     cannot know is named instead of shown as zero (TestWhatIsNotKnownIsSaid, TestWhatDoesNotAnswerIsNotTakenForEmpty)
//   - whatever a name or an error holds is text and never markup (TestValuesAreNeverMarkup), no script, style, font or picture
//     is from elsewhere, and a browser is told to refuse any (TestNothingComesFromElsewhere)
//   - a page on loopback answers to loopback's names only, so that no website can have a browser read it
//     (TestAForeignNameIsRefused); nothing but reading is possible (TestOnlyReadingIsPossible)
//   - it is live (TestEventsBringNewFigures), ends when the listener does and bounds how many look
//     (TestViewersAreBoundedAndEnd, TestAnotherSiteTakesNoPlaceOfAViewer); nobody looking costs nothing (TestNobodyIsAskedWhileNobodyLooks)
//   - a history holds an hour, however long the process runs (TestHistoryHoldsAnHour)
package statuspage
