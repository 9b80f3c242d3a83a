// Package crashpoint names the places at which the crash test kills the program. In an ordinary
// build Pass does nothing and costs nothing. A build with the tag "crash" kills itself at the place
// that its environment names: IMPORTD_CRASH=NAME:N is the N-th passing of the place NAME.
//
// The places are the string literals that Pass is called with. The crash test (tests/crash) lists
// each of them with the operation that passes it, and fails when the list and the code differ.
package crashpoint
