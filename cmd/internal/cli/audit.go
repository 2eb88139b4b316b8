package cli

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/internal/nearest"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func (a *app) audit() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "audit",
		Short: "The log of decisions: show, verify, head",
		Long: `Commands for the log of decisions, which lies where the policy says, or in the user's state folder; --log names another. docs/audit.md says
what a line holds and what the chain of hashes proves.`,
		Example:                    "  awskms-offline audit show --result refused\n  awskms-offline audit verify",
		Args:                       noSuchCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       noCommand,
	}
	pathVar(c.PersistentFlags(), &file, "log", "", "the log's file (default: where the policy says)")
	c.AddCommand(a.auditShow(&file), a.auditVerify(&file), a.auditHead(&file))
	return c
}

// logPath is --log, or the place of the policy in force.
func (a *app) logPath(file string) (string, error) {
	if file == "-" {
		return "", invalid("--log is -, and a log is read from its file, beside which those before it lie").WithHint("Name the file; one of that name is ./-.")
	}
	if file != "" {
		return file, nil
	}
	path, err := verifier.LogPath(a.verifierOptions())
	if err == nil && path == "-" {
		err = invalid("the policy sends the log to standard error, where nothing can be read back").WithHint("Name a file with --log.")
	}
	if err == nil && path == "" {
		err = invalid("the policy switches the log off").WithHint("Name a file with --log.")
	}
	return path, err
}

// maxDamage is how many lines are told one by one that cannot be shown.
const maxDamage = 100

func (a *app) auditShow(file *string) *cobra.Command {
	var filter audit.Filter
	var since, until string
	var follow bool
	c := &cobra.Command{
		Use:   "show",
		Short: "Show decisions, oldest first",
		Long: `Shows the lines of the log that the flags choose, one a line: number, time, user, program, what was asked, key, result; with --output json
the lines as they are. The chain is not checked: audit verify does.`,
		Example: "  awskms-offline audit show --key alias/release --since 2026-11-01T00:00:00Z\n  awskms-offline audit show --result refused --since 24h --follow",
		Args:    exactly(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now()
			for _, bound := range []struct {
				flag, text string
				at         *time.Time
			}{{"--since", since, &filter.Since}, {"--until", until, &filter.Until}} {
				if bound.text == "" {
					continue
				}
				at, err := timeOrAgo(bound.flag, bound.text, now)
				if err != nil {
					return err
				}
				*bound.at = at
			}
			switch {
			case follow && until != "":
				return invalid("--follow and --until are given, expected one of them").WithHint("What is written from now on has no end but Ctrl-C; leave --follow out.")
			case !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until):
				return invalid("--until %s is %s, which is not after --since %s, %s: no line lies between them",
					until, filter.Until.UTC().Format(time.RFC3339), since, filter.Since.UTC().Format(time.RFC3339)).
					WithHint("A line is shown from --since on, and before --until; 7d means seven days ago.")
			}
			if err := checkResult(filter.Result); err != nil {
				return err
			}
			path, err := a.logPath(*file)
			if err != nil {
				return err
			}
			return a.showLines(path, *file != "", filter, follow)
		},
	}
	fl := c.Flags()
	fl.StringVar(&filter.Key, "key", "", "decisions about this key: its ARN or key ID, or what it was asked for by")
	fl.StringVar(&since, "since", "", "not before this time: RFC 3339, or so long ago as 24h or 7d")
	fl.StringVar(&until, "until", "", "before this time, likewise; not with --follow")
	fl.StringVar(&filter.Result, "result", "", "verified, refused, or an error's name such as DisabledException")
	fl.StringVar(&filter.FrontEnd, "front-end", "", "asked by this program: "+strings.Join(ownFrontEnds, ", "))
	fl.BoolVar(&follow, "follow", false, "go on with what is written from now on, until Ctrl-C")
	return c
}

// ownFrontEnds are this project's own. A program on the library writes its own name.
var ownFrontEnds = []string{name, "notation-" + name, "sigstore-kms-" + name}

// unmet says of a filter that no line has met that it may be misspelt, which else looks like a thing that never happened. A log
// holds what callers wrote, and other programs' names: only where there is none of these is that known. nil if nothing speaks
// for a misspelling.
func unmet(filter audit.Filter) error {
	if filter.FrontEnd != "" && !slices.Contains(ownFrontEnds, filter.FrontEnd) {
		return invalid("--front-end is %q, by which no such line was written, and none of %s", filter.FrontEnd, strings.Join(ownFrontEnds, ", ")).
			WithHint("Name one of these; a program on the library writes the name that it gave itself.")
	}
	if _, err := kmskey.ParseRef(filter.Key); filter.Key != "" && err != nil {
		e := kmserr.As(err)
		return invalid("--key: %s, and no such line is of a call that named it so", e.Fact).WithHint("%s", e.Hint)
	}
	return nil
}

// isNone reports whether of a file's first lines, many of them, none is one of a log, be it a damaged one. Whoever changes a log
// can make it look so: it serves words, and decides nothing.
func (a *app) isNone(path string) bool {
	const enough = 10_000
	lines := 0
	for entry, err := range audit.Lines(a.ctx, path, audit.Filter{}) {
		if !kmserr.Is(err, kmserr.AuditIntegrity) || bytes.HasPrefix(entry.Raw, []byte(`{"eventVersion":`)) {
			return false
		}
		if lines++; lines == enough {
			break
		}
	}
	return lines > 0
}

const noneOfALog = "No line at its beginning is one of a log: was another file meant? `awskms-offline doctor` tells where the log is."

// showLines prints the lines that the filter takes, and goes on after one that cannot be read: the error tells of these. chosen
// says that --log names the file.
func (a *app) showLines(path string, chosen bool, filter audit.Filter, follow bool) error {
	lines := audit.Lines
	if follow {
		lines = audit.Follow
		if err := unmet(filter); err != nil {
			a.note(kmserr.As(err).Fact)
		}
	}
	var damaged []error
	shown, more, gravest := 0, 0, 0
	for entry, err := range lines(a.ctx, path, filter) {
		if err != nil {
			if a.ctx.Err() != nil && follow {
				break // which has no other end
			}
			if a.ctx.Err() != nil {
				return kmserr.New(kmserr.DeadlineExceeded, "interrupted: these are not all lines")
			}
			if follow { // who watches is told at once, not at the end of days
				a.say(err)
				a.printed = a.output != "json" // where one who reads the end is told by an object, too
				if len(damaged) == 0 || kmserr.ExitCode(err) > kmserr.ExitCode(damaged[0]) {
					damaged = []error{err}
				}
				continue
			}
			if code := kmserr.ExitCode(err); len(damaged) < maxDamage || code > gravest {
				damaged, gravest = append(damaged, err), max(gravest, code)
			} else {
				more++ // a file that is no log at all may have millions
			}
			continue
		}
		if a.output == "json" {
			err = a.write(append(entry.Raw, '\n'))
		} else {
			err = a.printf("%s\n", plain(entryText(entry)))
		}
		if err != nil {
			if a.printed {
				a.say(err)
			}
			return err
		}
		shown++
	}
	if shown == 0 && !follow && chosen && gravest == kmserr.ExitRefused && a.isNone(path) { // said once, not of each line
		more += len(damaged) - 1
		damaged = []error{kmserr.Besides(damaged[0], noneOfALog)}
	}
	if shown == 0 && len(damaged) == 0 && !follow { // else a misspelt key would look like one that was never asked for
		if err := unmet(filter); err != nil {
			if filter.Since.IsZero() && filter.Until.IsZero() && filter.Result == "" {
				return err
			}
			a.note(kmserr.As(err).Fact) // there may be lines of other times and results
		}
		a.note("no line of the log is of this kind")
	}
	if more > 0 {
		damaged = append(damaged, kmserr.New(kmserr.AuditIntegrity, "there are %d more such lines", more).WithHint("`awskms-offline audit verify` tells where the first is."))
	}
	return errors.Join(damaged...)
}

// timeOrAgo reads a time that a flag names, or how long before now it is.
func timeOrAgo(flag, text string, now time.Time) (time.Time, error) {
	if ago, ok := kmskey.ParseAge(text); ok {
		return now.Add(-ago), nil
	}
	at, err := kmskey.ParseTime(text)
	if err != nil {
		return time.Time{}, invalid("%s is %q, expected a time such as 2026-11-23T11:00:00Z, or how long ago it is: a whole number and one of d, h, m and s, such as 7d or 24h", flag, text)
	}
	return at.Time, nil
}

// checkResult refuses a --result that no line can have: a misspelt one would show nothing, as if nothing had been refused.
func checkResult(result string) error {
	names := []string{"verified", "refused"}
	for _, row := range kmserr.Table() {
		names = append(names, string(row.Name))
	}
	if result == "" || slices.Contains(names, result) {
		return nil
	}
	e := invalid("--result is %q, expected verified, refused, or an error's name", result)
	if near := nearest.Name(result, names); near != "" {
		return e.WithHint("Did you mean %s?", near)
	}
	return e.WithHint("docs/errors.md has the names.")
}

func entryText(e audit.Entry) string {
	result := "verified"
	switch {
	case !e.Verified:
		result = "refused " + e.ErrorCode
	case e.StateError != "":
		name, _, _ := strings.Cut(e.StateError, ":")
		result = "identified, its state refused: " + name
	}
	key := e.KeyARN
	if key == "" {
		key = e.Asked
	}
	user := e.UserIdentity.UserName
	if user == "" {
		user = e.UserIdentity.PrincipalID
	}
	if strings.ContainsFunc(user, unicode.IsSpace) {
		user = strconv.Quote(user)
	}
	text := fmt.Sprintf("%d %s %s %s %s %s %s", e.Sequence, e.EventTime.UTC().Format(time.RFC3339), orDash(user), e.FrontEnd.Name, e.EventName, orDash(key), result)
	if e.SigningAlgorithm != "" {
		text += " " + e.SigningAlgorithm
	}
	if e.ErrorMessage != "" {
		text += ": " + e.ErrorMessage
	}
	if r := e.Recovered; r != nil {
		text += fmt.Sprintf(" [before it the log ended in %d bytes that were no whole line, kept in %s]", r.Bytes, r.File)
	}
	return text
}

func (a *app) auditVerify(file *string) *cobra.Command {
	var head, start string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check that the log still says what was written",
		Long: `Reads the log with its rotated files and checks every line and the chain through all of them. Exit code 0: intact; 1: broken, and the first
broken place is named. Lines missing at the end, and a log written anew, show only against a head that was noted elsewhere:
--expect-head.`,
		Example: "  awskms-offline audit verify\n  awskms-offline audit verify --expect-head 4711:0123…",
		Args:    exactly(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			var opts audit.Options
			var err error
			for _, expected := range []struct {
				flag, text string
				head       *audit.Head
			}{{"--expect-head", head, &opts.ExpectHead}, {"--expect-start", start, &opts.ExpectStart}} {
				if expected.text == "" {
					continue
				}
				if *expected.head, err = audit.ParseHead(expected.text); err != nil {
					return invalid("%s: %s", expected.flag, kmserr.As(err).Fact)
				}
			}
			path, err := a.logPath(*file)
			if err != nil {
				return err
			}
			report, err := audit.Verify(a.ctx, path, opts)
			if kmserr.Is(err, kmserr.AuditIntegrity) && *file != "" && a.isNone(path) {
				return kmserr.Besides(err, noneOfALog)
			}
			if err != nil {
				return err
			}
			if report.Lines == 0 {
				a.warn([]string{"the log holds no line: it was just begun, or somebody emptied it, which only --expect-head tells"})
			}
			if a.output == "json" {
				return a.json(map[string]any{"Intact": report.Intact, "Files": report.Files, "Lines": report.Lines, "Bytes": report.Bytes,
					"Head": report.Last.String(), "Recovered": report.Recovered})
			}
			if report.Recovered > 0 {
				a.warn([]string{fmt.Sprintf("%s of the log, which a crash leaves: audit show names the file that each was kept in",
					count(report.Recovered, "line tells of an incomplete end", "lines tell of incomplete ends"))})
			}
			return a.printf("Intact: %s in %s, head %s\n", count(report.Lines, "line", "lines"), count(report.Files, "file", "files"), report.Last)
		},
	}
	c.Flags().StringVar(&head, "expect-head", "", "the log must hold this head, which audit head printed before")
	c.Flags().StringVar(&start, "expect-start", "", "the log must begin behind this head: that of files taken away on purpose")
	return c
}

func (a *app) auditHead(file *string) *cobra.Command {
	return &cobra.Command{
		Use:     "head",
		Short:   "Print the log's head, to be noted elsewhere",
		Long:    "Prints the number and hash of the log's last line. Noted on another machine, it makes audit verify --expect-head find what is missing at the end.",
		Example: "  awskms-offline audit head",
		Args:    exactly(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := a.logPath(*file)
			if err != nil {
				return err
			}
			head, err := audit.HeadOf(a.ctx, path)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]string{"Head": head.String()})
			}
			return a.printf("%s\n", head)
		},
	}
}
