package wire

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestObject: what is written is what encoding/json reads, whatever the texts hold.
func TestObject(t *testing.T) {
	hostile := "\x00\"\\\n\u2028</script>\xff\U0001f511"
	var inner, o, none Object
	inner.Bool("yes", true)
	inner.Bool("no", false)
	inner.Text(hostile, hostile)
	o.Text("text", hostile)
	o.Texts("texts", []string{"a", hostile})
	o.Texts("none", nil)
	o.Object("object", inner)
	o.Object("empty", none)
	var got map[string]any
	if err := json.Unmarshal(o.JSON(), &got); err != nil {
		t.Fatalf("%s: %v", o.JSON(), err)
	}
	replaced := "\x00\"\\\n\u2028</script>\ufffd\U0001f511"
	want := map[string]any{
		"text": replaced, "texts": []any{"a", replaced}, "none": []any{}, "empty": map[string]any{},
		"object": map[string]any{"yes": true, "no": false, replaced: replaced},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, expected %#v", got, want)
	}
	if got := string(none.JSON()); got != "{}" {
		t.Errorf("an empty object is %s", got)
	}
}
