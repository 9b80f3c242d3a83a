package ocilayout

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Format is a compression format of layers.
type Format string

// The formats. An empty Format means Gzip, which every program reads.
const (
	Gzip         Format = "gzip"
	Zstd         Format = "zstd"
	Uncompressed Format = "none"
)

// ParseFormat reads a Format as it is written. An empty text is Gzip.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Gzip, nil
	case Gzip, Zstd, Uncompressed:
		return f, nil
	}
	return "", fmt.Errorf("the compression %q is unknown; write %s, %s or %s", s, Gzip, Zstd, Uncompressed)
}

// Compression says how layers are compressed. The zero value is gzip at its usual level.
type Compression struct {
	Format Format
	// Level is 1 (fast) to 9 (small) for gzip, 1 to 22 for zstd; 0 means the usual one. Levels
	// beyond count as the last.
	Level int
}

const (
	// usualGzip makes layers as small as those of zlib's usual level, which other programs use, in
	// less time.
	usualGzip = 8
	// MaxGzip and MaxZstd are the last levels.
	MaxGzip, MaxZstd = gzip.BestCompression, 22
)

// ParseCompression reads a Compression: the text of a Format, and a level, 0 for the usual one.
func ParseCompression(format string, level int) (Compression, error) {
	f, err := ParseFormat(format)
	if err != nil || level == 0 {
		return Compression{Format: f}, err
	}
	last := map[Format]int{Gzip: MaxGzip, Zstd: MaxZstd}[f]
	switch {
	case last == 0:
		return Compression{}, fmt.Errorf("the compression %q has no level", f)
	case level < 0 || level > last:
		return Compression{}, fmt.Errorf("the level %d of %s is out of range: 1 (fast) to %d (small)", level, f, last)
	}
	return Compression{Format: f, Level: level}, nil
}

// MediaType is that of a layer.
func (c Compression) MediaType() string {
	switch c.Format {
	case Zstd:
		return ocispec.MediaTypeImageLayerZstd
	case Uncompressed:
		return ocispec.MediaTypeImageLayer
	}
	return ocispec.MediaTypeImageLayerGzip
}

// writer makes what compresses to a writer, which it doesn't close. What it writes depends on
// nothing but what it is given: no time or name in headers, one goroutine. One that isn't wanted
// any more need not be closed.
func (c Compression) writer(to io.Writer) (io.WriteCloser, error) {
	switch c.Format {
	case Uncompressed:
		return noCloser{to}, nil
	case Zstd:
		level := zstd.SpeedDefault
		if c.Level > 0 {
			level = zstd.EncoderLevelFromZstd(c.Level)
		}
		return zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level))
	case Gzip, "":
		level := usualGzip
		if c.Level > 0 {
			level = min(c.Level, gzip.BestCompression)
		}
		return gzip.NewWriterLevel(to, level)
	}
	_, err := ParseFormat(string(c.Format))
	return nil, err
}

type noCloser struct{ io.Writer }

func (noCloser) Close() error { return nil }
