// Package pcre makes Go matchers of the regular expressions in SELinux policies.
//
// The expressions are PCRE2's, on bytes. libselinux puts them between ^ and $ without a group
// around them, and a dot matches every byte. Translate writes an expression for package regexp,
// which matches in linear time. Look-around, back-references, atomic groups and possessive
// quantifiers have no such form: Backtracking compiles them for package regexp2, with a time limit.
// What neither matcher supports is an error.
//
// A translation also knows the fixed text before the first operator, and another fixed text that
// each match holds: with these a caller rules most expressions out without running them. Its weight
// bounds the steps of a match, since an image brings both the expression and the path.
package pcre
