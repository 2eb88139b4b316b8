package kmscert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]string{
		"CN=release":                             "CN=release",
		"cn=release, o=Example , c=US":           "CN=release,O=Example,C=US",
		"C=US,ST=WA,O=Example,CN=release":        "CN=release,O=Example,ST=WA,C=US",
		`CN=a\,b\+c,OU=x+OU=y`:                   `CN=a\,b\+c,OU=x+OU=y`,
		"CN=Grüße,L=Köln":                        "CN=Grüße,L=Köln",
		`CN=\47o,SERIALNUMBER=1`:                 "SERIALNUMBER=1,CN=Go",
		"CN=a,STREET=Main Street 1,POSTALCODE=1": "CN=a,POSTALCODE=1,STREET=Main Street 1",
	} {
		got, err := ParseSubject(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; expected %s", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                                "there is no CN",
		"release":                         "no distinguished name",
		"CN=":                             "expected text",
		"O=Example":                       "there is no CN",
		"CN=a,CN=b":                       "given twice",
		"CN=a,X=b":                        `the attribute "X" is not known`,
		"CN=a,C=USA":                      "two letters",
		"CN=a\x00b":                       "no distinguished name",
		`CN=a\0ab`:                        "control characters",
		"/CN=a/O=b":                       "not known",
		"CN=" + strings.Repeat("a", 2000): "longer than 1024 bytes",
	} {
		_, err := ParseSubject(text)
		if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, expected %q", text, err, says)
		}
	}
}

func FuzzParseSubject(f *testing.F) {
	f.Add("CN=a,O=b+OU=c")
	f.Add(`CN=\47\,,C=US`)
	f.Add("CN=#0c0161")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseSubject(text)
		if err == nil && (name.CommonName == "" || len(name.ToRDNSequence()) == 0) {
			t.Errorf("%q is taken for %s", text, name)
		}
		if err != nil && !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../../testdata/certs/*.crt")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := Parse("file", data)
		if err != nil {
			if !kmserr.Is(err, kmserr.Validation) {
				t.Error(err)
			}
			return
		}
		if again, err := Parse("file", chain.PEM()); err != nil || len(again.Certificates) != len(chain.Certificates) {
			t.Errorf("what is written is not read: %v", err)
		}
	})
}
