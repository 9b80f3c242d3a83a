package dbus

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// TestKeysHaveOneSpelling: what a caller writes or reads as a key, as an option or in JSON, is
// lower case with hyphens, everywhere.
func TestKeysHaveOneSpelling(t *testing.T) {
	for _, shown := range []any{
		daemon.Event{}, daemon.JobStatus{}, daemon.Prepared{}, importer.Image{}, importer.Result{},
		importer.UnencapsulateResult{}, importer.EncapsulateResult{}, importer.ExportResult{},
		importer.CopyResult{}, importer.RemoveResult{}, importer.PruneResult{},
		importer.VerifyResult{}, importer.Comparison{}, importer.Update{},
	} {
		checkKeys(t, reflect.TypeOf(shown), map[reflect.Type]bool{})
	}
	for method, pairs := range requests() {
		checkKeys(t, reflect.TypeOf(pairs[0].request), map[reflect.Type]bool{})
		for _, o := range pairs[0].options {
			checkKey(t, method, o.name)
		}
	}
}

var keyForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func checkKey(t *testing.T, of, key string) {
	t.Helper()
	if !keyForm.MatchString(key) {
		t.Errorf("%s has the key %q", of, key)
	}
}

// checkKeys looks at the keys that encoding/json gives the fields of a type, and of the types in
// it.
func checkKeys(t *testing.T, typ reflect.Type, seen map[reflect.Type]bool) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		checkKeys(t, typ.Elem(), seen)
		return
	case reflect.Struct:
	default:
		return
	}
	if seen[typ] || typ.Implements(reflect.TypeFor[json.Marshaler]()) ||
		typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return
	}
	seen[typ] = true
	for _, field := range reflect.VisibleFields(typ) {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "-" || !field.IsExported() {
			continue
		}
		checkKey(t, typ.String()+"."+field.Name, key)
		checkKeys(t, field.Type, seen)
	}
}
