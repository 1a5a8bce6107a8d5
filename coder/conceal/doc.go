// Package conceal makes up for packets that were lost, where the codec does not do it itself (G.711, G.722, L16).
//
// Voices repeat themselves a hundred times a second, so the last period of what was heard is played again and again
// (the idea of ITU-T G.711 appendix I, without its delay):
//
//	heard ───────────────┬─ period ─┐
//	lost                 └► period, period, period … softer, silent after 60 ms
//	heard again             overlapped with what would have followed
//
// The period is that of the best correlation between 2.5 and 15 ms. The seam between two periods is cross-faded, a step
// at the beginning of the gap is worn off, and the end of the gap is overlapped with the sound that comes, so that nothing
// clicks. Noise has no period, and is repeated with the longest one.
//
// A Concealer belongs to one stream, is not for concurrent use, and allocates nothing once it is made.
package conceal
