// Package crash kills the program, and the programs that it starts, at every place that package
// crashpoint names and at random moments, and then looks at what is left: the repository is sound,
// every ref is whole, the next pull gives the expected commit, and nothing temporary and no process
// remains.
//
// The tests need the build tag "crash", for themselves and for the commands under test. `make
// crash` builds both. CRASH_HITS is the number of kills, CRASH_SEED repeats a run, and CRASH_ONLY
// runs one of its hits.
package crash
