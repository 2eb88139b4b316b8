package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// mutant is one break of the code.
type mutant struct {
	id int
	// pkg is the folder below the module, file the name in it, line the place; fn the function it is in.
	pkg, file string
	line      int
	fn        string
	// kind is what is done to text, a piece of the source on one line.
	kind, text string
	// nth tells apart what has the same kind and text in a function, from 1.
	nth int
}

// name is the same as long as the function's text is, whatever is added above it.
func (m mutant) name() string {
	return fmt.Sprintf("%s/%s\t%s\t%s\t%s\t%d", m.pkg, m.file, m.fn, m.kind, m.text, m.nth)
}

// The kinds of breaks. What another break implies is left out: a test that notices that one side of an && or || has no say
// notices || for && and && for ||, for there both breaks give the same; and one that notices that a condition never holds, or has
// no say, notices its opposite.
const (
	never    = "never"        // a guard's condition never holds
	dropped  = "dropped"      // one part of a condition has no say
	negated  = "negated"      // a condition, or the boolean returned, is the opposite; a "!" is left out
	boundary = "boundary"     // < for <=, > for >=, and the other way round
	noError  = "no error"     // the error returned is nil
	noCase   = "case dropped" // one value of a switch matches nothing
)

// wrap is text put around a range of the source, so that a break can be switched on in the built program.
type wrap struct {
	start, end  int // offsets
	open, close string
	seq         int
}

// breaker finds the breaks of one file and writes it with all of them in it, each behind its switch.
type breaker struct {
	fset   *token.FileSet
	info   *types.Info
	pkg    *types.Package
	source []byte
	file   *ast.File
	folder string
	name   string

	mutants  []mutant
	next     int // the next mutant's id
	wraps    []wrap
	replaced map[int]string // operators, by offset
	lengths  map[int]int
	seen     map[ast.Expr]bool
	fn       string
	results  *ast.FieldList
	same     map[string]int
}

func (b *breaker) offset(p token.Pos) int { return b.fset.Position(p).Offset }

func (b *breaker) add(kind string, at token.Pos, n ast.Node) int {
	text := strings.Join(strings.Fields(string(b.source[b.offset(n.Pos()):b.offset(n.End())])), " ")
	m := mutant{id: b.next, pkg: b.folder, file: b.name, line: b.fset.Position(at).Line, fn: b.fn, kind: kind, text: text}
	key := m.fn + "\t" + kind + "\t" + text
	b.same[key]++
	m.nth = b.same[key]
	b.next++
	b.mutants = append(b.mutants, m)
	return m.id
}

// around puts a call around an expression: open is the call up to it.
func (b *breaker) around(n ast.Node, open string) {
	b.wraps = append(b.wraps, wrap{b.offset(n.Pos()), b.offset(n.End()), open, ")", len(b.wraps)})
}

// run walks the file's functions.
func (b *breaker) run() {
	b.replaced, b.lengths, b.seen, b.same = map[int]string{}, map[int]int{}, map[ast.Expr]bool{}, map[string]int{}
	for _, d := range b.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		b.fn = f.Name.Name
		if f.Recv != nil && len(f.Recv.List) == 1 {
			b.fn = types.ExprString(f.Recv.List[0].Type) + "." + b.fn
		}
		b.function(f.Body, f.Type.Results)
	}
}

func (b *breaker) function(body *ast.BlockStmt, results *ast.FieldList) {
	outer := b.results
	b.results = results
	defer func() { b.results = outer }()
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			b.function(n.Body, n.Type.Results)
			return false
		case *ast.IfStmt:
			b.guard(n.Cond)
		case *ast.ForStmt:
			if n.Cond != nil {
				b.boolean(n.Cond, "", false)
			}
		case *ast.SwitchStmt:
			b.cases(n)
		case *ast.ReturnStmt:
			b.returned(n)
		case ast.Expr:
			if b.isCondition(n) {
				b.boolean(n, "", false)
			}
		}
		return true
	})
}

func (b *breaker) typeOf(e ast.Expr) types.Type { return b.info.Types[e].Type }

func (b *breaker) constant(e ast.Expr) bool { return b.info.Types[e].Value != nil }

// isCondition reports whether e is a comparison or made of conditions; others are looked at where a statement asks for one.
func (b *breaker) isCondition(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return isBoolean(b.typeOf(e)) && !b.constant(e)
	case *ast.UnaryExpr:
		return e.Op == token.NOT && !b.constant(e)
	}
	return false
}

func isBoolean(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsBoolean != 0
}

// guard is a condition that decides whether statements run.
func (b *breaker) guard(e ast.Expr) {
	if b.constant(e) {
		return
	}
	b.around(e, fmt.Sprintf("zzTo(%d, false, ", b.add(never, e.Pos(), e)))
	b.boolean(e, "", true)
}

// boolean breaks a condition; neutral is the value with which it has no say in what it is a part of, "" if it stands alone.
// broken says that it is taken away already as a whole.
func (b *breaker) boolean(e ast.Expr, neutral string, broken bool) {
	if b.seen[e] || b.constant(e) && !isLiteral(e) {
		return
	}
	b.seen[e] = true
	if neutral != "" {
		b.around(e, fmt.Sprintf("zzTo(%d, %s, ", b.add(dropped, e.Pos(), e), neutral))
		broken = true
	}
	switch x := e.(type) {
	case *ast.ParenExpr:
		b.boolean(x.X, "", broken)
		return
	case *ast.UnaryExpr:
		if x.Op == token.NOT {
			b.boolean(x.X, "", broken)
			return
		}
	case *ast.BinaryExpr:
		switch x.Op {
		case token.LAND, token.LOR:
			neutral := "true"
			if x.Op == token.LOR {
				neutral = "false"
			}
			for _, part := range []ast.Expr{x.X, x.Y} {
				of := neutral
				if inner, ok := part.(*ast.BinaryExpr); ok && inner.Op == x.Op {
					of = "" // its parts have their own turn
				}
				b.boolean(part, of, false)
			}
			return
		case token.LSS, token.LEQ, token.GTR, token.GEQ:
			if !broken {
				b.around(x, fmt.Sprintf("zzNot(%d, ", b.add(negated, x.Pos(), x)))
			}
			call := map[token.Token]string{token.LSS: "zzLess", token.LEQ: "zzLessEqual", token.GTR: "zzGreater", token.GEQ: "zzGreaterEqual"}[x.Op]
			b.around(x, fmt.Sprintf("%s(%d, ", call, b.add(boundary, x.OpPos, x)))
			b.operator(x.OpPos, len(x.Op.String()), ",")
			return
		}
	}
	if !broken {
		b.around(e, fmt.Sprintf("zzNot(%d, ", b.add(negated, e.Pos(), e)))
	}
}

func isLiteral(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && (name.Name == "true" || name.Name == "false")
}

func (b *breaker) operator(at token.Pos, length int, text string) {
	b.replaced[b.offset(at)], b.lengths[b.offset(at)] = text, length
}

// cases breaks the conditions of a switch without a tag, and takes the values out of one with a tag.
func (b *breaker) cases(s *ast.SwitchStmt) {
	for _, stmt := range s.Body.List {
		for _, e := range stmt.(*ast.CaseClause).List {
			if s.Tag == nil {
				b.guard(e)
				continue
			}
			t := b.typeOf(e)
			name, ok := b.spell(t)
			basic, plain := t.Underlying().(*types.Basic)
			if !ok || !plain || basic.Info()&(types.IsString|types.IsInteger) == 0 {
				continue
			}
			b.around(e, fmt.Sprintf("zzCase[%s](%d, ", name, b.add(noCase, e.Pos(), e)))
		}
	}
}

// spell writes a type as this file would, if its imports allow it.
func (b *breaker) spell(t types.Type) (text string, ok bool) {
	ok = true
	text = types.TypeString(t, func(p *types.Package) string {
		if p == b.pkg {
			return ""
		}
		for _, spec := range b.file.Imports {
			if strings.Trim(spec.Path.Value, `"`) == p.Path() {
				if spec.Name != nil {
					return spec.Name.Name
				}
				return p.Name()
			}
		}
		ok = false
		return ""
	})
	return text, ok
}

// returned breaks what a function returns: its last result, if it is an error, and booleans.
func (b *breaker) returned(r *ast.ReturnStmt) {
	if b.results == nil {
		return
	}
	var declared []ast.Expr
	for _, field := range b.results.List {
		for range max(1, len(field.Names)) {
			declared = append(declared, field.Type)
		}
	}
	if len(declared) != len(r.Results) {
		return
	}
	for i, e := range r.Results {
		switch name, _ := declared[i].(*ast.Ident); {
		case name != nil && name.Name == "error" && !b.info.Types[e].IsNil():
			b.around(e, fmt.Sprintf("zzNil[error](%d, ", b.add(noError, e.Pos(), e)))
		case isBoolean(b.typeOf(e)):
			b.boolean(e, "", false)
		}
	}
}

// written returns the file with every break in it. Lines stay where they are.
func (b *breaker) written() []byte {
	type event struct {
		at, group int // 0 closes, 1 opens, 2 replaces
		order     []int
		text      string
	}
	var events []event
	for _, w := range b.wraps {
		events = append(events, event{w.start, 1, []int{-w.end, w.seq}, w.open}, event{w.end, 0, []int{-w.start, -w.seq}, w.close})
	}
	for at, text := range b.replaced {
		events = append(events, event{at, 2, nil, text})
	}
	slices.SortStableFunc(events, func(x, y event) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.group, y.group), slices.Compare(x.order, y.order))
	})
	var out []byte
	from := 0
	for _, e := range events {
		out = append(append(out, b.source[from:e.at]...), e.text...)
		if from = e.at; e.group == 2 {
			from += b.lengths[e.at]
		}
	}
	return append(out, b.source[from:]...)
}

// switches is the file beside the broken ones of a package: which break is on is told by the environment.
const switches = `package %s

import (
	"cmp"
	"os"
	"reflect"
	"strconv"
	"sync"
)

var zzMutant, zzHits = func() (int, *os.File) {
	id, err := strconv.Atoi(os.Getenv("AWSKMS_OFFLINE_MUTANT"))
	if err != nil {
		id = -1
	}
	path := os.Getenv("AWSKMS_OFFLINE_MUTANT_HITS")
	if path == "" {
		return id, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil { // no panic: a test may make every call fail, and take a panic for one of ours
		println(err.Error())
		os.Exit(1)
	}
	return id, f
}()

var zzSeen sync.Map

func zzOn(id int) bool {
	if zzHits != nil {
		if _, again := zzSeen.LoadOrStore(id, true); !again {
			zzHits.WriteString(strconv.Itoa(id) + "\n")
		}
	}
	return id == zzMutant
}

func zzTo[T ~bool](id int, value, v T) T {
	if zzOn(id) {
		return value
	}
	return v
}

func zzNot[T ~bool](id int, v T) T { return v != T(zzOn(id)) }

func zzLess[T cmp.Ordered](id int, a, b T) bool         { return a < b || zzOn(id) && a == b }
func zzLessEqual[T cmp.Ordered](id int, a, b T) bool    { return a < b || !zzOn(id) && a == b }
func zzGreater[T cmp.Ordered](id int, a, b T) bool      { return a > b || zzOn(id) && a == b }
func zzGreaterEqual[T cmp.Ordered](id int, a, b T) bool { return a > b || !zzOn(id) && a == b }

func zzNil[T any](id int, v T) T {
	if zzOn(id) {
		var none T
		return none
	}
	return v
}

func zzCase[T any](id int, v T) T {
	if !zzOn(id) {
		return v
	}
	switch r := reflect.ValueOf(&v).Elem(); {
	case r.Kind() == reflect.String:
		r.SetString(r.String() + "\x00")
	case r.CanInt():
		r.SetInt(r.Int() ^ 0x40)
	case r.CanUint():
		r.SetUint(r.Uint() ^ 0x40)
	}
	return v
}
`
