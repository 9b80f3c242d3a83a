package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Checksum is the SHA-256 that names an OSTree object. The zero value stands for "none".
type Checksum [sha256.Size]byte

// ChecksumOf returns the SHA-256 of b: the name of a metadata object with these bytes.
func ChecksumOf(b []byte) Checksum {
	return sha256.Sum256(b)
}

// ParseChecksum reads the 64 lower-case hexadecimal digits that OSTree writes.
func ParseChecksum(s string) (Checksum, error) {
	var c Checksum
	if err := c.UnmarshalText([]byte(s)); err != nil {
		return Checksum{}, err
	}
	return c, nil
}

// String returns 64 lower-case hexadecimal digits.
func (c Checksum) String() string {
	return hex.EncodeToString(c[:])
}

// IsZero reports whether c is the zero value.
func (c Checksum) IsZero() bool {
	return c == Checksum{}
}

// MarshalText returns what String returns.
func (c Checksum) MarshalText() ([]byte, error) {
	return []byte(c.String()), nil
}

// UnmarshalText is the inverse of MarshalText. Like libostree it refuses upper-case digits. On an
// error c is left as it was.
func (c *Checksum) UnmarshalText(text []byte) error {
	if len(text) != 2*sha256.Size {
		return fmt.Errorf("checksum: %d characters long instead of %d", len(text), 2*sha256.Size)
	}
	for _, b := range text {
		if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return fmt.Errorf("checksum: %q is not lower-case hexadecimal", text)
		}
	}
	var parsed Checksum
	if _, err := hex.Decode(parsed[:], text); err != nil {
		return fmt.Errorf("checksum: %w", err)
	}
	*c = parsed
	return nil
}
