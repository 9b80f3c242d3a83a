// Package child is the part of package rpmdb that runs in a process of its own: it finds the
// headers of packages in a database, with libraries that nothing else should link.
package child

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/knqyf263/go-rpmdb/pkg/bdb"
	database "github.com/knqyf263/go-rpmdb/pkg/db"
	"github.com/knqyf263/go-rpmdb/pkg/ndb"
	"github.com/knqyf263/go-rpmdb/pkg/sqlite3"
	_ "modernc.org/sqlite" // the driver that package sqlite3 uses

	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
)

// Run does the child's work, and ends the program, if it was started as the child. Programs that
// use an rpmdb.Reader call it first.
func Run() {
	if len(os.Args) != 3 || os.Args[1] != rpmdb.Verb {
		return
	}
	answer := os.Stdout
	os.Stdout = os.Stderr // for a library that prints what it finds wrong
	if err := read(os.Args[2], answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func read(name string, to io.Writer) error {
	db, err := open(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(to)
	for found := range db.Read() { // what it holds open ends with this process
		if found.Err != nil {
			return found.Err
		}
		h, err := rpmdb.ParseHeader(found.Value)
		if err != nil {
			return err
		}
		if err := h.WriteRecords(out); err != nil {
			return err
		}
	}
	return out.Flush()
}

// open opens the database in a file of the working directory. Its name tells the format, as it does
// for rpm.
func open(name string) (database.RpmDBInterface, error) {
	switch name {
	case rpmdb.SQLite:
		return sqlite3.Open(name)
	case rpmdb.NDB:
		return ndb.Open(name)
	case rpmdb.BerkeleyDB:
		return bdb.Open(name)
	}
	return nil, errors.New("no name of an RPM database")
}
