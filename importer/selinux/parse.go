package selinux

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Bounds of what the files hold. Fedora's policy has about 7,000 specifications, which weigh
// 80,000.
const (
	maxSpecs       = 200_000
	maxTotalWeight = 2_000_000
	maxSubs        = 10_000
	maxLabel       = 4096 // bytes; the kernel's own limit is about that
)

// none is the label that says there is none.
const none = "<<none>>"

// separators is what isspace takes for white space in the C locale.
const separators = " \t\n\v\f\r"

// parser collects the specifications of several files.
type parser struct {
	specs  []*spec // in the order in which the last that matches counts
	labels map[string]*label
	weight int
}

// file reads one file of specifications: lines of an expression, optionally a file type, and a
// label.
func (p *parser) file(ctx context.Context, name, text string) error {
	number := 0
	for line := range strings.Lines(text) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		number++
		if err := p.line(line, fmt.Sprintf("%s, line %d", name, number)); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, number, err)
		}
	}
	return nil
}

func (p *parser) line(line, where string) error {
	fields := fieldsOf(line)
	switch {
	case len(fields) == 0:
		return nil
	case len(fields) == 1:
		return fmt.Errorf("it has only one field, %.100q, where an expression and a label must be", fields[0])
	case len(fields) > 3:
		fields = fields[:3]
	}
	for _, field := range fields {
		if strings.IndexFunc(field, func(r rune) bool { return r >= 0x80 }) >= 0 {
			return fmt.Errorf("%.100q is not ASCII", field)
		}
	}
	if len(p.specs) >= maxSpecs {
		return fmt.Errorf("the policy has more than %d specifications", maxSpecs)
	}
	s := &spec{where: where}
	context := fields[len(fields)-1]
	if len(fields) == 3 {
		kind, known := fileKinds[fields[1]]
		if !known {
			return fmt.Errorf("there is no file type %.100q", fields[1])
		}
		s.kind = kind
	}
	if len(context) > maxLabel {
		return fmt.Errorf("the label has %d bytes, more than %d", len(context), maxLabel)
	}
	s.label = p.label(context)
	weight, err := s.setPattern(fields[0])
	if err != nil {
		return fmt.Errorf("the regular expression %.200q can't be used: %w", fields[0], err)
	}
	if p.weight += weight; p.weight > maxTotalWeight {
		return errors.New("the regular expressions so far are too complex, all together")
	}
	p.specs = append(p.specs, s)
	return nil
}

// label gives the label of a text, nil for <<none>>.
func (p *parser) label(text string) *label {
	if text == none {
		return nil
	}
	l := p.labels[text]
	if l == nil {
		l = newLabel(text)
		p.labels[text] = l
	}
	return l
}

// fieldsOf splits a line. A NUL ends it, as in C. The result is empty for a comment.
func fieldsOf(line string) []string {
	line, _, _ = strings.Cut(line, "\x00")
	fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(separators, r) })
	if len(fields) > 0 && strings.HasPrefix(fields[0], "#") {
		return nil
	}
	return fields
}

// substitution says what a path, or what is below it, is labelled as.
type substitution struct {
	line int // in its file; of several that fit the last counts
	to   string
}

// substitutions are those of one file, by the path that they are for.
type substitutions map[string]substitution

// maxSubstituted is the length, in bytes, of a path in a substitution: every path that it is for is
// matched with that much more.
const maxSubstituted = 4096

// parseSubstitutions reads a file of them: lines of two fields, of which the last that fits counts.
func parseSubstitutions(name, text string) (substitutions, error) {
	subs, count := substitutions{}, 0
	for line := range strings.Lines(text) {
		fields := fieldsOf(line)
		if len(fields) < 2 {
			continue
		}
		if count++; count > maxSubs {
			return nil, fmt.Errorf("%s: it has more than %d substitutions", name, maxSubs)
		}
		if len(fields[0]) > maxSubstituted || len(fields[1]) > maxSubstituted {
			return nil, fmt.Errorf("%s: a path of a substitution is longer than %d bytes", name, maxSubstituted)
		}
		subs[fields[0]] = substitution{count, fields[1]}
	}
	return subs, nil
}

// apply gives the path that another stands for. It looks up the path and each directory on the way
// to it, so that the time it takes does not depend on how many substitutions there are.
func (s substitutions) apply(path string) string {
	if len(s) == 0 {
		return path
	}
	var found substitution
	rest := ""
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if sub := s[path[:i]]; sub.line > found.line {
			found, rest = sub, path[i:]
		}
	}
	switch {
	case found.line == 0:
		return path
	case rest != "" && found.to == "/":
		return rest
	}
	return found.to + rest
}
