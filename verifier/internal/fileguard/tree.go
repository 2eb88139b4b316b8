package fileguard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// place is where a path led: an entry of an open, checked folder, no link itself.
type place struct {
	folder *os.Root
	name   string // "." for the folder itself
	path   string // the real path inside the tree
	info   fs.FileInfo
	trail  string // every link followed, and where it led
	// opened are the folders to close; the tree's own is not among them.
	opened []*os.Root
}

func (p *place) close() {
	for _, root := range p.opened {
		root.Close()
	}
}

// Abs returns a path inside the tree as an absolute one, for people.
func (t *Tree) Abs(rel string) string { return filepath.Join(t.root.Name(), filepath.FromSlash(rel)) }

// find walks rel from the tree's folder, element by element, and checks every folder it enters on its open handle. Links are
// followed inside the tree only. What is not there is ErrAbsent; a link that leads nowhere is an integrity error, and so
// is a file where a folder must be.
//
// os.Root would follow links by itself, but then the folders behind them would be entered unchecked.
func (t *Tree) find(rel string) (*place, error) {
	// A ConfigMap volume is replaced by turning one link and removing what it led to. A reader that followed the old link
	// may find its folder half empty: so absence counts only if two walks that met links met the same ones.
	before := ""
	for range maxTurns {
		found, trail, err := t.walk(rel)
		if trail == before || !errors.Is(err, fs.ErrNotExist) {
			return found, settle(err)
		}
		before = trail
		time.Sleep(time.Millisecond)
	}
	return nil, t.turning(rel)
}

// maxTurns is how often a path is walked whose links lead elsewhere each time.
const maxTurns = 10

func (t *Tree) turning(rel string) error {
	return integrity("the links on the way to %s are turned all the time", t.Abs(rel)).
		WithHint("Try again once whatever writes the store is done.")
}

// settle turns the error of a last walk into what callers tell apart.
func settle(err error) error {
	var known *kmserr.Error
	if errors.As(err, &known) || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return ErrAbsent
}

// walk is one attempt of find. trail is the place's, and told where nothing was found, too.
func (t *Tree) walk(rel string) (found *place, trail string, err error) {
	p := &place{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	stack, names := []*os.Root{t.root}, []string{}
	links := 0
	elements := func(p, link string) []step {
		return slices.DeleteFunc(steps(p, link), func(s step) bool { return s.name == "" || s.name == "." })
	}
	for todo := elements(rel, ""); len(todo) > 0; {
		here := todo[0]
		todo = todo[1:]
		if here.name == ".." {
			if len(names) == 0 {
				return nil, trail, t.leaves(here.link)
			}
			stack, names = stack[:len(stack)-1], names[:len(names)-1]
			continue
		}
		top, at := stack[len(stack)-1], path.Join(append(slices.Clone(names), here.name)...)
		info, err := top.Lstat(here.name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && here.link != "":
			return nil, trail, integrity("%s is a link that leads to %s, which is not there", t.Abs(here.link), t.Abs(at)).
				WithHint("Mend or remove the link.").WithCause(err)
		case err != nil:
			return nil, trail, t.unreadable(at, err)
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return nil, trail, integrity("%s leads through more than %d links", t.Abs(rel), maxLinks)
			}
			target, err := top.Readlink(here.name)
			if err != nil {
				return nil, trail, t.unreadable(at, err)
			}
			target = filepath.ToSlash(target)
			if strings.HasPrefix(target, "/") || filepath.VolumeName(target) != "" {
				return nil, trail, t.leaves(at)
			}
			trail += at + " " + target + "\n"
			todo = append(elements(target, at), todo...)
			continue
		case len(todo) == 0:
			p.folder, p.name, p.path, p.info, p.trail = top, here.name, at, info, trail
			return p, trail, nil
		case !info.IsDir():
			return nil, trail, t.noFolder(at, info)
		}
		next, err := top.OpenRoot(here.name)
		if err != nil {
			return nil, trail, t.unreadable(at, err)
		}
		p.opened = append(p.opened, next)
		if err := t.checkFolder(next, at); err != nil {
			return nil, trail, err
		}
		stack, names = append(stack, next), append(names, here.name)
	}
	// A link that led to a folder on its own path, or the tree's folder itself.
	p.folder, p.name, p.path, p.trail = stack[len(stack)-1], ".", path.Join(names...), trail
	p.info, err = p.folder.Stat(".")
	if err != nil {
		return nil, trail, t.unreadable(p.path, err)
	}
	return p, trail, nil
}

func (t *Tree) checkFolder(root *os.Root, rel string) error {
	info, err := root.Stat(".")
	if err != nil {
		return t.unreadable(rel, err)
	}
	return t.guard.open(folderHandle(t.Abs(rel), root, info))
}

func (t *Tree) noFolder(rel string, info fs.FileInfo) error {
	return integrity("%s is %s, expected a folder", t.Abs(rel), kindOf(info.Mode())).
		WithHint("Move it away, then run `awskms-offline doctor`.")
}

func (t *Tree) leaves(link string) error {
	return integrity("%s is a link that leaves the store", t.Abs(link)).
		WithHint("Put the file itself in its place: links must stay inside %s.", t.root.Name())
}

// unreadable keeps fs.ErrNotExist in the chain, as the bare error, so that absence stays absence.
func (t *Tree) unreadable(rel string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", t.Abs(rel), fs.ErrNotExist)
	}
	return t.unreadableOpen(rel, err)
}

// unreadableOpen is for what was open already, so that it is there.
func (t *Tree) unreadableOpen(rel string, err error) error {
	return unreadableIn(t.root.Name(), t.Abs(rel), err)
}

// unreadableIn is unreadable for what lies in a folder that somebody may have meant for others too. Stores are written for their
// writer alone, so a store of the whole machine must be opened to its users by hand.
func unreadableIn(folder, path string, err error) *kmserr.Error {
	e := unreadable(path, err)
	if e.Hint != "" {
		e.Hint = "Run this as the user it belongs to; or, if it is for every user of this machine, " + publishing(folder)
	}
	return e
}

func unreadable(path string, err error) *kmserr.Error {
	e := access(err, "%s cannot be read: %v", path, Cause(err))
	if errors.Is(err, fs.ErrPermission) {
		e.Hint = "Let the current user read it, or run as the user it belongs to."
	}
	return e
}

// Cause strips the operation and path that the os package adds, which our sentences name themselves.
func Cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no ordinary file"
}

// Read returns the content of the file rel, at most limit bytes, and its real path inside the tree. ErrAbsent if it is
// not there.
func (t *Tree) Read(rel string, limit int) (data []byte, real string, err error) {
	for range 3 {
		data, real, err = t.readOnce(rel, limit)
		// Gone between finding and opening: a writer removed it, or a volume was turned. Look again to tell which.
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return data, real, settle(err)
}

func (t *Tree) readOnce(rel string, limit int) (data []byte, real string, err error) {
	p, err := t.find(rel)
	if err != nil {
		return nil, "", err
	}
	defer p.close()
	if !p.info.Mode().IsRegular() {
		return nil, "", t.NoFile(p.path, p.info)
	}
	// Nothing that was put in the file's place since may hold the reader up: no waiting for the other end of a FIFO.
	f, err := p.folder.OpenFile(p.name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, "", t.unreadable(p.path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", t.unreadable(p.path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, "", t.NoFile(p.path, info)
	}
	if err := t.guard.open(fileHandle(t.Abs(p.path), f, info)); err != nil {
		return nil, "", err
	}
	content := bytes.NewBuffer(make([]byte, 0, min(info.Size(), int64(limit))+bytes.MinRead))
	if _, err := content.ReadFrom(io.LimitReader(f, int64(limit)+1)); err != nil {
		return nil, "", t.unreadable(p.path, err)
	}
	data = content.Bytes()
	if len(data) > limit {
		return nil, "", integrity("%s is more than %d bytes long", t.Abs(p.path), limit).
			WithHint("No file of the store is: remove it, and import anew what it should hold.")
	}
	return data, p.path, nil
}

// NoFile is the error for what should be an ordinary file and is not.
func (t *Tree) NoFile(rel string, info fs.FileInfo) error {
	return integrity("%s is %s, expected an ordinary file", t.Abs(rel), kindOf(info.Mode())).
		WithHint("Remove it, then run `awskms-offline doctor`.")
}

// Exists reports whether something is at rel, without reading it.
func (t *Tree) Exists(rel string) (bool, error) {
	p, err := t.find(rel)
	if errors.Is(err, ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p.close()
	return true, nil
}

// Names returns the names in the folder rel, sorted, at most limit of them (0: all); more says that there are further
// ones. A folder that is not there has none.
func (t *Tree) Names(rel string, limit int) (names []string, more bool, err error) {
	err = t.unturned(rel, func(p *place) (err error) {
		names, err = t.list(p, limit)
		return err
	})
	switch {
	case errors.Is(err, ErrAbsent):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	if limit != 0 && len(names) > limit {
		names, more = names[:limit], true
	}
	slices.Sort(names)
	return names, more, nil
}

// errTurned says that links on the way to a place led elsewhere while it was looked at. It never leaves unturned.
var errTurned = errors.New("turned")

// unturned finds rel and lets look at it, anew if the links on the way led elsewhere afterwards or if what was found is gone:
// what a folder does not hold counts as absent, and a volume's folder is emptied once the link to it was turned.
func (t *Tree) unturned(rel string, look func(*place) error) error {
	var err error
	for range maxTurns {
		p, unfound := t.find(rel)
		if unfound != nil {
			return unfound
		}
		err = look(p)
		p.close()
		if err == nil {
			err = t.leadsStill(rel, p)
		}
		if err = settle(err); !errors.Is(err, errTurned) && !errors.Is(err, ErrAbsent) {
			return err
		}
	}
	if errors.Is(err, ErrAbsent) {
		return t.unreadableOpen(rel, fs.ErrNotExist) // it is found, as an open folder is that was removed, and cannot be read
	}
	return t.turning(rel)
}

// leadsStill is errTurned if the links on the way to rel lead not to p any more.
func (t *Tree) leadsStill(rel string, p *place) error {
	if p.trail == "" {
		return nil
	}
	again, err := t.find(rel)
	if err != nil {
		return err
	}
	again.close()
	if again.trail != p.trail || !os.SameFile(again.info, p.info) {
		return errTurned
	}
	return nil
}

// list returns the names in a folder that was found, one more than limit at most (0: all). fs.ErrNotExist says that it was
// removed since.
func (t *Tree) list(p *place, limit int) (names []string, err error) {
	if !p.info.IsDir() {
		return nil, t.noFolder(p.path, p.info)
	}
	root := p.folder
	if p.name != "." {
		root, err = p.folder.OpenRoot(p.name)
		if err != nil {
			return nil, t.unreadable(p.path, err)
		}
		defer root.Close()
	}
	if err := t.checkFolder(root, p.path); err != nil {
		return nil, err
	}
	f, err := root.Open(".")
	if err != nil {
		return nil, t.unreadable(p.path, err)
	}
	defer f.Close()
	most := limit + 1
	if limit == 0 {
		most = -1
	}
	names, err = f.Readdirnames(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, t.unreadable(p.path, err)
	}
	return names, nil
}
