package dbus

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	godbus "github.com/godbus/dbus/v5"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// option is one key that a method's a{sv} may have, bound to the place that its value has in Go.
// One list of them is both what a server reads and what a client writes.
type option struct {
	name string
	// value is a *bool (b), *int (u), *uint64 (t), *string or *digest.Digest (s), *[]string (as),
	// *map[string]string (a{ss}),
	// **importer.Descriptor (h) or *[]*importer.Descriptor (ah).
	value any
	// check says what is wrong with a value that was given; it is called when all values have been
	// set. nil: nothing can be.
	check func() error
	// path: a client makes it absolute, since the daemon has another working directory.
	path bool
}

// signature is the type of the option's value on the bus.
func (o option) signature() string {
	switch o.value.(type) {
	case *bool:
		return "b"
	case *int:
		return "u"
	case *uint64:
		return "t"
	case *string, *digest.Digest:
		return "s"
	case *[]string:
		return "as"
	case *map[string]string:
		return "a{ss}"
	case **importer.Descriptor:
		return "h"
	case *[]*importer.Descriptor:
		return "ah"
	}
	panic(fmt.Sprintf("dbus: the option %s is bound to a %T", o.name, o.value))
}

// set stores a value that is of the option's signature. What it says of descriptors stands for
// those of the call.
func (o option) set(value any, from *descriptors) (err error) {
	switch to := o.value.(type) {
	case *bool:
		*to = value.(bool)
	case *int:
		*to = int(value.(uint32))
	case *uint64:
		*to = value.(uint64)
	case *string:
		*to = value.(string)
	case *digest.Digest:
		*to = digest.Digest(value.(string))
	case *[]string:
		*to = value.([]string)
	case *map[string]string:
		*to = value.(map[string]string)
	case **importer.Descriptor:
		*to, err = from.take(value.(godbus.UnixFDIndex))
	case *[]*importer.Descriptor:
		for _, index := range value.([]godbus.UnixFDIndex) {
			taken, err := from.take(index)
			if err != nil {
				return err
			}
			*to = append(*to, taken)
		}
	}
	return err
}

// get is the inverse of set; given is false for a zero value, which is what an option that isn't
// given means.
func (o option) get() (value any, given bool) {
	switch from := o.value.(type) {
	case *bool:
		return *from, *from
	case *int:
		return uint32(max(0, *from)), *from > 0
	case *uint64:
		return *from, *from > 0
	case *string:
		return *from, *from != ""
	case *digest.Digest:
		return string(*from), *from != ""
	case *[]string:
		return *from, len(*from) > 0
	case *map[string]string:
		return *from, len(*from) > 0
	case **importer.Descriptor:
		if *from == nil {
			return nil, false
		}
		return godbus.UnixFD((*from).File().Fd()), true
	case *[]*importer.Descriptor:
		numbers := make([]godbus.UnixFD, len(*from))
		for i, d := range *from {
			numbers[i] = godbus.UnixFD(d.File().Fd())
		}
		return numbers, len(numbers) > 0
	}
	return nil, false
}

// readOptions sets the options that a call to method gives, with the descriptors that it brings,
// and returns their names, sorted. A key that is not allowed, a wrong type and a value that makes
// no sense are errors: nothing is ignored.
func readOptions(
	method string, allowed []option, values map[string]godbus.Variant, brought *descriptors,
) (names []string, err error) {
	names = slices.Sorted(maps.Keys(values))
	var given []option
	for _, name := range names {
		i := slices.IndexFunc(allowed, func(o option) bool { return o.name == name })
		if i < 0 {
			return nil, invalidOption("unknown option %q; %s takes %s", name, method, listOptions(allowed))
		}
		known, value := allowed[i], values[name]
		if actual := value.Signature().String(); actual != known.signature() {
			return nil, invalidOption("the option %q is of type %s, not %s; %s takes %s",
				name, known.signature(), actual, method, listOptions(allowed))
		}
		if err := known.set(value.Value(), brought); err != nil {
			return nil, err
		}
		given = append(given, known)
	}
	for _, o := range given {
		if o.check == nil {
			continue
		}
		if err := o.check(); err != nil {
			return nil, invalidOption("the option %q: %w", o.name, err)
		}
	}
	return names, nil
}

// writeOptions is the inverse of readOptions.
func writeOptions(options []option) (map[string]godbus.Variant, error) {
	values := make(map[string]godbus.Variant)
	for _, o := range options {
		value, given := o.get()
		if !given {
			continue
		}
		if o.path {
			absolute, err := filepath.Abs(value.(string))
			if err != nil {
				return nil, invalidOption("cannot make %q an absolute path: %w", value, err)
			}
			value = absolute
		}
		values[o.name] = godbus.MakeVariant(value)
	}
	return values, nil
}

// givenNames are the names of the options that have a value.
func givenNames(options []option) []string {
	var names []string
	for _, o := range options {
		if _, given := o.get(); given {
			names = append(names, o.name)
		}
	}
	return names
}

func invalidOption(format string, args ...any) error {
	return &importer.Error{Kind: importer.KindInvalidOption, Err: fmt.Errorf(format, args...)}
}

func invalidReference(err error) error {
	return &importer.Error{Kind: importer.KindInvalidReference, Stage: importer.StageReference, Err: err}
}

func listOptions(options []option) string {
	if len(options) == 0 {
		return "no options"
	}
	var list []string
	for _, o := range options {
		list = append(list, o.name+" ("+o.signature()+")")
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// callOptions are the options of a call that say nothing about the work itself.
type callOptions struct {
	wait bool
	job  daemon.JobOptions
	// names are all that were given, sorted; those of the request too.
	names []string
}

// jobOptions are those of a method that answers when its job has finished.
func jobOptions(o *daemon.JobOptions) []option {
	return []option{
		{name: "no-queue", value: &o.NoQueue},
		{name: "transaction-id", value: &o.TransactionID, check: func() error { return checkTransactionID(o.TransactionID) }},
	}
}

// options are those of a method that answers with a job.
func (o *callOptions) options() []option {
	return append(jobOptions(&o.job), option{name: "wait", value: &o.wait})
}

const maxTransactionID = 128 // bytes

func checkTransactionID(id string) error {
	if id == "" || len(id) > maxTransactionID {
		return fmt.Errorf("it has to have 1 to %d bytes; a UUID is a good one", maxTransactionID)
	}
	return nil
}
