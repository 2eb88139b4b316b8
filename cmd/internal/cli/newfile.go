package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// pathVar registers a flag that names a file by its path alone, as one to write. What is given as fileb://path, as flags that
// name a file to read take it, is that path: a file called fileb: is meant by nobody.
func pathVar(flags *pflag.FlagSet, to *string, name, value, usage string) {
	*to = value
	flags.Var((*pathValue)(to), name, usage)
}

type pathValue string

// Set implements pflag.Value.
func (p *pathValue) Set(text string) error {
	path := filePath(text)
	switch {
	case path == "" && text != "":
		return errors.New("no path is behind it, expected a file")
	case path == "-" && text != "-":
		path = "./-" // a file of that name, as fileb://- to read is, and no standard output
	}
	*p = pathValue(path)
	return nil
}

func (p *pathValue) String() string { return string(*p) }

// Type implements pflag.Value.
func (p *pathValue) Type() string { return "string" }

// writeNewFor writes the file that a flag names, which must not exist yet; a half-written one is removed.
func writeNewFor(flag, file string, data []byte) error {
	return streamNewFor(flag, file, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// absentFor refuses early what writeNewFor would refuse. No file is meant by an empty name, nor by - for standard output.
func absentFor(flag, file string) error {
	if _, err := os.Lstat(file); file != "" && file != "-" && err == nil {
		return there(flag, file)
	}
	return nil
}

func there(flag, file string) error {
	return invalid("%s names %s, which is there already", flag, file).WithHint("Name a new file, or remove that one.").WithCause(fs.ErrExist)
}

// streamNewFor is writeNewFor for what is made as it is written.
func streamNewFor(flag, file string, write func(io.Writer) error) error {
	if file == "-" { // who may write there does not come here
		return invalid("%s is -, and this goes into a file, not to standard output", flag).WithHint("Name a new file; one of that name is ./-.")
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return there(flag, file)
	}
	if err == nil {
		err = write(f)
		if err == nil {
			err = f.Sync()
		}
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = os.Remove(file)
		}
	}
	var ours *kmserr.Error
	if errors.As(err, &ours) {
		return err // of what was to be written
	}
	if err != nil {
		refusal := kmserr.New(kmserr.StoreAccess, "%s cannot be written: %v", file, reason(err)).WithCause(err)
		if errors.Is(err, fs.ErrNotExist) {
			refusal = refusal.WithHint("Its folder is not there: make it, or name another file. A key store's folder is made by the first awskms-offline keys import or pull.")
		}
		return refusal
	}
	return nil
}
