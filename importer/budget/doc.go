// Package budget shares a fixed amount of memory among the layers and trees that a process works
// on.
//
// What an image can make large is taken from a Share before it is allocated: the window of a
// decoder, the buffers of a layer, the entries of a tree. Take says how much; nothing is given back
// before the work has ended, because what a tree or a decoder drops is free only when the garbage
// collector has found it.
//
// Nobody waits for memory while holding some. Otherwise two layers that hold their windows could
// wait for each other's memory, for their trees. So a share grows only by what is free at that
// moment. Where that is not enough the work ends with an error, its share goes back, and Run waits
// for a share as large as is known to be needed, and does the work again:
//
//	Run ──wait──▶ share of n bytes ──work──▶ Take … Take ──▶ done
//	  ▲                                          │
//	  └───── all given back, n at least doubles ─┴─▶ more than the budget: refused
//
// Whoever waits holds nothing, so that the others come to their end. Those who wait are served in
// their order, so that a large need is not passed by small ones at once. But a layer holds its
// share while it waits for the network, which may take days. So nobody keeps others back for longer
// than Patience: then whoever fits is served, and a large need waits for as long as it does not
// fit. A need that grows with each turn ends at the whole budget, with which the work runs alone.
//
// To do work again costs time, that of a layer the download too. It happens only when the budget is
// used up.
package budget
