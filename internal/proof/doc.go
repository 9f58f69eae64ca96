// Package proof compares the tables with the source, row by row and value by value: what `hubtail demo` and the crash
// tests end with. It shares no code with the sink's casts, so that it cannot repeat their mistakes, and it reads the
// simulator's ground truth, which a real HubSpot has not got. `hubtail verify` compares rows by the same rules with the
// log's last events.
//
// What it promises:
//   - A row that is missing, superfluous or different in any value or flag is found, and named:
//     TestEveryDifferenceIsFoundAndNamed, TestPipelinesAndStagesAreCompared, TestLinksAreCompared, TestOwnersAreComparedDeactivatedOnesIncluded.
//   - A value counts as equal only if nothing of it is lost: in its column with the same meaning, or else as HubSpot's
//     own text in _extra, never in both: TestLossyColumnsAreDifferent, TestOneMeaningInOtherTextIsEqual.
//   - A source that cannot be read to its end is an error, not a verdict:
//     TestAnUnreadableSourceOrNoTableIsAnErrorNotAVerdict, TestATruthThatBreaksOffIsAnError.
package proof
