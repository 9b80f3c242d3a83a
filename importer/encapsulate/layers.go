package encapsulate

import (
	"context"
	"fmt"
	"io"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Commit is a commit of which the layers are written one by one, by who knows what each is to hold.
type Commit struct {
	source *source
}

// Open reads all of a commit but the contents. Errors are those of Encapsulate.
func Open(ctx context.Context, repo *ostreerepo.Repo, commit objects.Checksum) (*Commit, error) {
	s, err := load(ctx, repo, commit)
	if err != nil {
		return nil, fmt.Errorf("encapsulate %s: %w", commit, err)
	}
	return &Commit{s}, nil
}

// Contents is how many content objects the commit has.
func (c *Commit) Contents() int { return len(c.source.tree.contents) }

// WriteCommit writes the archive of the first layer, with the contents that no other layer has: all
// but those in others. step is called after each content. It may be called at the same time as
// WriteChunk.
func (c *Commit) WriteCommit(ctx context.Context, w io.Writer, others map[objects.Checksum]bool, step func()) error {
	var rest []*content
	for _, content := range c.source.tree.sorted() {
		if !others[content.checksum] {
			rest = append(rest, content)
		}
	}
	return c.archiver(ctx, w, step).commitLayer(c.source, rest)
}

// WriteChunk writes the archive of a chunk with the given contents, which are sorted. What the
// commit doesn't have is left out. step is called after each content. It may be called at the same
// time by several goroutines.
func (c *Commit) WriteChunk(ctx context.Context, w io.Writer, contents []objects.Checksum, step func()) error {
	var chunk []*content
	for _, sum := range contents {
		if content := c.source.tree.contents[sum]; content != nil {
			chunk = append(chunk, content)
		}
	}
	return c.archiver(ctx, w, step).chunk(chunk)
}

func (c *Commit) archiver(ctx context.Context, w io.Writer, step func()) *archiver {
	return newArchiver(ctx, c.source.tree.repo, w, func(*content) { step() })
}
