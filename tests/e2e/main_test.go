package e2e

import (
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

func TestMain(m *testing.M) { fixture.Main(m) }
