package wire

import "github.com/go-json-experiment/json/jsontext"

// Object is a JSON object that is being written, one member after the other in the order of the calls; the zero value is
// empty. The answers of both protocols are small and of fixed form: an encoder that first learns a type by reflection
// takes a tenth of a plugin's run for that.
type Object struct{ members []byte }

func (o *Object) name(name string) {
	if len(o.members) > 0 {
		o.members = append(o.members, ',')
	}
	o.members = append(quoted(o.members, name), ':')
}

// quoted appends a JSON string. What is no UTF-8 becomes U+FFFD.
func quoted(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text) // the error only says that something was replaced
	return b
}

// Text adds a member whose value is a string.
func (o *Object) Text(name, value string) {
	o.name(name)
	o.members = quoted(o.members, value)
}

// Texts adds a member whose value is an array of strings, never null.
func (o *Object) Texts(name string, values []string) {
	o.name(name)
	o.members = append(o.members, '[')
	for i, value := range values {
		if i > 0 {
			o.members = append(o.members, ',')
		}
		o.members = quoted(o.members, value)
	}
	o.members = append(o.members, ']')
}

// Bool adds a member that is true or false.
func (o *Object) Bool(name string, value bool) {
	o.name(name)
	if value {
		o.members = append(o.members, "true"...)
	} else {
		o.members = append(o.members, "false"...)
	}
}

// Object adds a member that is an object.
func (o *Object) Object(name string, value Object) {
	o.name(name)
	o.members = append(o.members, value.JSON()...)
}

// JSON returns the object.
func (o *Object) JSON() []byte {
	b := make([]byte, 0, len(o.members)+2)
	b = append(append(b, '{'), o.members...)
	return append(b, '}')
}
