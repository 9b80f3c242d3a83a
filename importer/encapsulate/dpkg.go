package encapsulate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

const (
	listSuffix = ".list"
	// maxLine is the longest line of a package database that is taken, in bytes.
	maxLine = 64 << 10
)

// readDpkg reads which files dpkg has installed: in a directory "info", somewhere below one that
// has to do with dpkg, there is a file NAME.list or NAME:ARCHITECTURE.list for each package, with a
// path per line.
func readDpkg(ctx context.Context, t *tree, _ Options) (*packages, error) {
	lists := dpkgLists(t)
	if len(lists) == 0 {
		return nil, errNoDatabase
	}
	p := newPackages(t)
	for _, file := range lists {
		name, _, _ := strings.Cut(strings.TrimSuffix(path.Base(file), listSuffix), ":")
		if err := p.claimList(ctx, name, file); err != nil {
			return nil, fmt.Errorf("/%s: %w", file, err)
		}
	}
	return p, nil
}

// dpkgLists finds the lists: those of the directory that has most of them. A commit may keep the
// database at any of several places, as /var is not part of an operating system's tree.
func dpkgLists(t *tree) []string {
	lists := make(map[string][]string)
	for file := range t.files {
		in, name := path.Split(file)
		if strings.HasSuffix(name, listSuffix) && strings.HasSuffix(in, "/info/") && strings.Contains(in, "dpkg") {
			lists[in] = append(lists[in], file)
		}
	}
	var most []string
	var at string
	for in, files := range lists {
		if len(files) > len(most) || len(files) == len(most) && in < at {
			most, at = files, in
		}
	}
	slices.Sort(most)
	return most
}

// claimList claims what a file of the commit lists for a package.
func (p *packages) claimList(ctx context.Context, name, file string) (err error) {
	_, r, err := p.tree.repo.OpenFile(p.tree.files[file])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return eachLine(ctx, r, func(line string) { p.claim(name, line) })
}

// eachLine calls do with each line of a text. A line that is too long is an error.
func eachLine(ctx context.Context, r io.Reader, do func(line string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		do(lines.Text())
	}
	return lines.Err()
}
