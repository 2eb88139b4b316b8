package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// target is a native fuzz target.
type target struct {
	// pkg is the import path, folder the same below the module, with slashes.
	pkg, folder string
	name        string
}

func (t target) String() string { return t.folder + "." + t.name }

// targets finds the fuzz targets of the module at root in its sources, so that nothing needs to be built to list them.
func targets(root string) ([]target, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var all []target
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath, Dir           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := packages.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		folder, err := filepath.Rel(root, pkg.Dir)
		if err != nil {
			return nil, err
		}
		for _, name := range append(pkg.TestGoFiles, pkg.XTestGoFiles...) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
					all = append(all, target{pkg: pkg.ImportPath, folder: filepath.ToSlash(folder), name: f.Name.Name})
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no fuzz target was found")
	}
	return all, nil
}
