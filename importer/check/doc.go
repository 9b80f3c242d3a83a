// Package check reads every object that commits reach, once however many of them share it, and
// tells which are missing or not what their names promise.
//
// A Checker first collects what is to be looked at (Add), then verifies all of it, several files at
// a time (Run), and can then say for each commit which paths are damaged (Damage). It changes
// nothing.
package check
