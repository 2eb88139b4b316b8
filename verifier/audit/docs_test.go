package audit

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDocumentedMembers: docs/audit.md names every member of a line.
func TestDocumentedMembers(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	members := 0
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for f := range typ.Fields() {
			if f.Anonymous {
				walk(f.Type)
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			members++
			if name == "" || !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("the member %q of %s is not there", name, f.Name)
			}
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Line](), reflect.TypeFor[UserIdentity](), reflect.TypeFor[Process](), reflect.TypeFor[Recovered]()} {
		walk(typ)
	}
	if members < 40 {
		t.Errorf("%d members only", members)
	}
}
