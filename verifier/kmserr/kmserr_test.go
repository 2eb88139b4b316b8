package kmserr

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared returns every constant of type Name in this package's source, by its identifier.
func declared(t *testing.T) map[string]Name {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "kmserr.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]Name)
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			if typ, ok := value.Type.(*ast.Ident); !ok || typ.Name != "Name" {
				continue
			}
			for i, ident := range value.Names {
				text, err := strconv.Unquote(value.Values[i].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				names[ident.Name] = Name(text)
			}
		}
	}
	if len(names) < 21 {
		t.Fatalf("found %d names in the source, expected 21 or more", len(names))
	}
	return names
}

// notationCodes are those of the Notary Project's plugin-extensibility.md.
var notationCodes = []string{"VALIDATION_ERROR", "UNSUPPORTED_CONTRACT_VERSION", "ACCESS_DENIED", "TIMEOUT", "THROTTLED", "ERROR"}

func TestTableHasEveryNameOnce(t *testing.T) {
	rows := make(map[Name]int)
	for _, row := range Table() {
		rows[row.Name]++
	}
	for ident, name := range declared(t) {
		if rows[name] != 1 {
			t.Errorf("%s (%s) has %d rows, expected 1", ident, name, rows[name])
		}
		if string(name) != strings.TrimSpace(string(name)) || !strings.HasSuffix(string(name), "Exception") {
			t.Errorf("%s is %q, expected …Exception", ident, name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("the row of %s has no constant", name)
	}
}

func TestTableRows(t *testing.T) {
	for _, row := range Table() {
		if row.Exit != ExitRefused && row.Exit != ExitBadCall && row.Exit != ExitOurSide {
			t.Errorf("%s: exit code %d", row.Name, row.Exit)
		}
		if !slices.Contains(notationCodes, row.Notation) {
			t.Errorf("%s: %q is no code of the Notation contract", row.Name, row.Notation)
		}
		for _, text := range []string{row.Meaning, row.Causes, row.Cure} {
			if len(text) < 10 || !strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text || strings.ContainsAny(text, "\n\t") {
				t.Errorf("%s: %q is no sentence", row.Name, text)
			}
		}
		if Lookup(row.Name) != row {
			t.Errorf("%s: Lookup gives %+v", row.Name, Lookup(row.Name))
		}
	}
}

// TestStateCures: a key that was enabled again in KMS goes on being refused here, and whoever enabled it must be told why.
func TestStateCures(t *testing.T) {
	for _, name := range []Name{Disabled, KMSInvalidState} {
		for _, way := range []string{"in KMS", "`awskms-offline keys refresh`", "describe-key"} {
			if cure := Lookup(name).Cure; !strings.Contains(cure, way) {
				t.Errorf("%s: %q does not name %s", name, cure, way)
			}
		}
	}
}

// TestExitCodes says again what the rules say, so that an edit of the table alone is noticed.
func TestExitCodes(t *testing.T) {
	want := map[int][]Name{
		ExitRefused: {"KMSInvalidSignatureException", "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException",
			"KeyBlockedException", "KeyNotAllowedException", "AlgorithmNotAllowedException", "OutsideValidityException",
			"SnapshotExpiredException", "ClockException", "NotFoundException", "AmbiguousKeyException",
			"UnsupportedOperationException", "KeyMaterialMismatchException", "DigestMismatchException", "CertificateInvalidException", "AuditIntegrityException"},
		ExitBadCall: {"ValidationException"},
		ExitOurSide: {"StoreIntegrityException", "StoreAccessException", "PolicyInvalidException", "AuditUnavailableException",
			"AccessDeniedException", "ThrottlingException", "KMSServiceException", "TimestampServiceException", "DeadlineExceededException", "InternalException"},
	}
	total := 0
	for exit, names := range want {
		for _, name := range names {
			total++
			if got := ExitCode(New(name, "fact")); got != exit {
				t.Errorf("%s gives exit code %d, expected %d", name, got, exit)
			}
		}
	}
	if total != len(Table()) {
		t.Errorf("the table has %d rows, %d are expected here", len(Table()), total)
	}
	if ExitDone != 0 || ExitRefused != 1 || ExitBadCall != 2 || ExitOurSide != 3 {
		t.Error("the exit codes are not 0, 1, 2, 3")
	}
}

func TestUnknownNameIsInternal(t *testing.T) {
	for _, name := range []Name{"", "notfoundexception", "SomethingNewException", "OK"} {
		if got := Lookup(name); got.Name != Internal || got.Exit != ExitOurSide {
			t.Errorf("%q: %+v", name, got)
		}
		if got := ExitCode(&Error{Name: name}); got != ExitOurSide {
			t.Errorf("%q gives exit code %d", name, got)
		}
	}
}

func TestTableIsACopy(t *testing.T) {
	Table()[0].Exit = 0
	if Table()[0].Exit == 0 {
		t.Error("the table can be changed from outside")
	}
}

func TestErrorText(t *testing.T) {
	var none *Error
	for _, c := range []struct {
		err  error
		want string
	}{
		{New(NotFound, "no record of %s", "x"), "NotFoundException: no record of x"},
		{New(NotFound, "no record").WithHint("Import it."), "NotFoundException: no record"},
		{New(NotFound, "no record").WithCause(io.EOF), "NotFoundException: no record"},
		{&Error{}, "InternalException: " + Lookup(Internal).Meaning},
		{&Error{Name: Disabled}, "DisabledException: " + Lookup(Disabled).Meaning},
		{&Error{Fact: "f"}, "InternalException: f"},
		{&Error{Name: "Odd"}, "Odd: " + Lookup(Internal).Meaning},
		{none, "InternalException: " + Lookup(Internal).Meaning},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, expected %q", got, c.want)
		}
	}
	for _, row := range Table() {
		if text := New(row.Name, "").Error(); text == "" || !strings.HasPrefix(text, string(row.Name)+": ") || strings.HasSuffix(text, ": ") {
			t.Errorf("%s without a fact says %q", row.Name, text)
		}
	}
}

func TestWith(t *testing.T) {
	e := New(NotFound, "fact").WithKey("first").WithKey("second").WithHint("Do %d.", 1).WithCause(io.EOF)
	if e.KeyARN != "first" || e.Hint != "Do 1." || !errors.Is(e, io.EOF) {
		t.Errorf("got %+v", e)
	}
}

func TestWithCure(t *testing.T) {
	for _, row := range Table() {
		if got := New(row.Name, "fact").WithCure(); got.Hint != row.Cure || got.Name != row.Name || got.Fact != "fact" {
			t.Errorf("got %+v", got)
		}
	}
}

func TestBesides(t *testing.T) {
	e := New(Disabled, "fact").WithHint("First.").WithKey("key").WithCause(io.EOF)
	for _, c := range []struct {
		err  error
		text string
		want Error
	}{
		{e, " Second.", Error{Disabled, "key", "fact", "First. Second.", io.EOF}},
		{fmt.Errorf("wrapped: %w", e), "Second.", Error{Disabled, "key", "fact", "First. Second.", io.EOF}},
		{e, "", *e},
		{New(NotFound, "fact"), "Alone.", Error{Name: NotFound, Fact: "fact", Hint: "Alone."}},
		{io.EOF, "Alone.", Error{Internal, "", "EOF", "Alone.", io.EOF}},
	} {
		if got := Besides(c.err, c.text); *got != c.want {
			t.Errorf("got %+v, expected %+v", *got, c.want)
		}
	}
	if e.Hint != "First." {
		t.Errorf("the error of another was changed: %+v", e)
	}
	if Besides(nil, "text") != nil {
		t.Error("nil became an error")
	}
}

func TestAs(t *testing.T) {
	if As(nil) != nil {
		t.Error("As(nil) is not nil")
	}
	e := New(Disabled, "fact")
	for name, err := range map[string]error{
		"itself": e, "wrapped": fmt.Errorf("verify: %w", e), "twice": fmt.Errorf("a: %w", fmt.Errorf("b: %w", e)),
		"joined": errors.Join(io.EOF, e),
	} {
		if As(err) != e || !Is(err, Disabled) || Is(err, NotFound) {
			t.Errorf("%s: %v", name, As(err))
		}
	}
	foreign := As(io.ErrUnexpectedEOF)
	if foreign.Name != Internal || foreign.Fact != "unexpected EOF" || !errors.Is(foreign, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v", foreign)
	}
	var none *Error
	if got := As(none); got == nil || got.Name != Internal {
		t.Errorf("a nil pointer in an error: %+v", got)
	}
	if Is(nil, Internal) || Is(none, Internal) || Is(io.EOF, Internal) {
		t.Error("Is takes something else for an Error")
	}
	if errors.Unwrap(none) != nil {
		t.Error("a nil pointer has a cause")
	}
}

func TestExitCodeOfSeveral(t *testing.T) {
	var none *Error
	refused, badCall, ours := New(NotFound, "r"), New(Validation, "b"), New(StoreIntegrity, "o")
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"1", refused, 1},
		{"2", badCall, 2},
		{"3", ours, 3},
		{"foreign", io.EOF, 3},
		{"nil pointer", none, 3},
		{"1 and 1", errors.Join(refused, New(Disabled, "d")), 1},
		{"1 and 2", errors.Join(refused, badCall), 2},
		{"2 and 1", errors.Join(badCall, refused), 2},
		{"1, 3 and 2", errors.Join(refused, ours, badCall), 3},
		{"1 and foreign", errors.Join(refused, io.EOF), 3},
		{"wrapped", fmt.Errorf("x: %w", refused), 1},
		{"join, wrapped", fmt.Errorf("x: %w", errors.Join(refused, ours)), 3},
		{"join of joins", errors.Join(refused, errors.Join(refused, fmt.Errorf("x: %w", errors.Join(refused, badCall)))), 2},
		{"two verbs", fmt.Errorf("%w, %w", refused, badCall), 2},
		{"an error's cause is not a second one", New(NotFound, "r").WithCause(ours), 1},
		{"empty join", emptyJoin{}, 3},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%s: exit code %d, expected %d", c.name, got, c.want)
		}
	}
}

// emptyJoin is an error that joins none.
type emptyJoin struct{}

func (emptyJoin) Error() string   { return "" }
func (emptyJoin) Unwrap() []error { return nil }
