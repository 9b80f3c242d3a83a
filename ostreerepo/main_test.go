package ostreerepo_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// stagingChild is the variable that makes this program a process which holds a staging in the
// repository that it names.
const stagingChild = "OSTREEREPO_TEST_STAGING_IN"

func TestMain(m *testing.M) {
	if path := os.Getenv(stagingChild); path != "" {
		if err := holdStaging(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holdStaging makes a staging, says so, and leaves it as it is when its standard input ends.
func holdStaging(path string) error {
	repo, err := ostreerepo.Open(context.Background(), path, ostreerepo.Options{})
	if err != nil {
		return err
	}
	if _, err := repo.NewStaging(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.ReadAll(os.Stdin)
	return err
}
