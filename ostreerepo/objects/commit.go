package objects

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Commit is a commit object.
type Commit struct {
	Metadata      Dict
	Parent        Checksum // zero: none
	Subject, Body string   // UTF-8 without NUL
	Timestamp     uint64   // seconds since 1970
	Tree, Meta    Checksum // of the root directory

	related []byte // an a(say) that libostree never reads; kept so that Marshal gives back what was parsed
}

// Marshal returns the object's bytes, with the metadata sorted by key.
func (c Commit) Marshal() []byte {
	return c.marshal(c.Metadata.Marshal())
}

func (c Commit) marshal(metadata []byte) []byte {
	dst := bytes.Clone(metadata)
	metadataEnd := len(dst)
	if !c.Parent.IsZero() {
		dst = append(dst, c.Parent[:]...)
	}
	parentEnd := len(dst)
	dst = append(dst, c.related...)
	relatedEnd := len(dst)
	dst = appendString(dst, c.Subject)
	subjectEnd := len(dst)
	dst = appendString(dst, c.Body)
	bodyEnd := len(dst)
	dst = appendPadding(dst, 0, 8)
	dst = binary.BigEndian.AppendUint64(dst, c.Timestamp)
	dst = append(dst, c.Tree[:]...)
	treeEnd := len(dst)
	dst = append(dst, c.Meta[:]...)
	return appendOffsets(dst, 0, treeEnd, bodyEnd, subjectEnd, relatedEnd, parentEnd, metadataEnd)
}

// ParseCommit is the inverse of Marshal. It also accepts metadata whose keys are not sorted, which
// Marshal would sort.
func ParseCommit(b []byte) (Commit, error) {
	c, err := parseCommit(b)
	if err != nil {
		return Commit{}, fmt.Errorf("commit: %w", err)
	}
	return c, nil
}

func parseCommit(b []byte) (Commit, error) {
	const offsets = 6
	member := newTuple(b, offsets)
	metadata, parent, related := member.variable(8), member.variable(1), member.variable(1)
	c := Commit{Subject: member.str(), Body: member.str(), Timestamp: member.uint64()}
	tree, meta := member.variable(1), member.last(1)
	if member.err != nil {
		return Commit{}, member.err
	}
	var err error
	if c.Metadata, err = ParseDict(metadata); err != nil {
		return Commit{}, err
	}
	if len(parent) > 0 {
		if c.Parent, err = parseChecksum(parent); err != nil {
			return Commit{}, err
		}
	}
	if c.related, err = parseRelated(related); err != nil {
		return Commit{}, err
	}
	if c.Tree, err = parseChecksum(tree); err != nil {
		return Commit{}, err
	}
	if c.Meta, err = parseChecksum(meta); err != nil {
		return Commit{}, err
	}
	if !bytes.Equal(c.marshal(metadata), b) {
		return Commit{}, errNotNormal
	}
	return c, nil
}

// parseRelated checks an a(say), which has the form of a dirtree's files.
func parseRelated(b []byte) ([]byte, error) {
	files, err := parseTreeFiles(b)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(appendTreeFiles(nil, files), b) {
		return nil, errNotNormal
	}
	return b, nil
}
