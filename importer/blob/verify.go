package blob

import (
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// verifier checks a stream that it sees piece by piece: the end of a stream that isn't the right
// one is an error in place of io.EOF.
type verifier struct {
	want     digest.Digest
	mismatch error // the sentinel for a wrong digest
	size     int64 // in bytes, or anySize
	digester digest.Digester
	read     int64
}

const anySize = -1

// newVerifier fails when the digest isn't valid or its algorithm isn't known.
func newVerifier(want digest.Digest, size int64, mismatch error) (*verifier, error) {
	if err := want.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", want, err)
	}
	return &verifier{want: want, mismatch: mismatch, size: size, digester: want.Algorithm().Digester()}, nil
}

// inspect takes the next piece and the error after it, and gives the error to hand on.
func (v *verifier) inspect(data []byte, err error) error {
	v.digester.Hash().Write(data)
	v.read += int64(len(data))
	switch {
	case v.size != anySize && v.read > v.size:
		return fmt.Errorf("%w: more than the %d bytes that it should have", ErrSize, v.size)
	case err == io.EOF:
		return v.verdict()
	}
	return err
}

// verdict is io.EOF for the right stream.
func (v *verifier) verdict() error {
	if v.size != anySize && v.read != v.size {
		return fmt.Errorf("%w: %d bytes where it should have %d", ErrSize, v.read, v.size)
	}
	if got := v.digester.Digest(); got != v.want {
		return fmt.Errorf("%w: %s where it should have %s", v.mismatch, got, v.want)
	}
	return io.EOF
}
