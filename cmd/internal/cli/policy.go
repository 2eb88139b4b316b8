package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{
		Use:                        "policy",
		Short:                      "What keys may verify: check, show, init",
		Long:                       "Commands for policy.json, in the home and in the machine's folder. docs/policy.md describes it.",
		Example:                    "  awskms-offline policy init --strict --allow arn:aws:kms:us-east-1:111122223333:alias/release\n  awskms-offline policy show alias/release",
		Args:                       noSuchCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       noCommand,
	}
	c.AddCommand(a.policyCheck(), a.policyShow(), a.policyInit())
	return c
}

func (a *app) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE…",
		Short: "Say what is wrong with policy files",
		Long: `Checks policy files, wherever they lie, and says all that is wrong with them, each with its line; where one is no JSON, what stands behind
that place is not told. What a good file brings about that its writer may not expect is a warning. Exit code 0: good; 3: one could
not be enforced. The policy of the home in use is judged as one, any other file as the machine's, which may say more. A FILE may be -, for
standard input.`,
		Example: "  awskms-offline policy check policy.json",
		Args:    atLeastOne("at least one file"),
		RunE: func(_ *cobra.Command, files []string) error {
			if err := oneStandardInput(files); err != nil {
				return err
			}
			var problems []error
			var warnings []string
			for _, file := range files {
				unexpected, err := a.checkPolicy(file)
				warnings = append(warnings, unexpected...)
				problems = append(problems, parts(err)...)
			}
			problems = deleteNil(problems)
			if a.output == "json" {
				list := []machineError{}
				for _, err := range problems {
					list = append(list, errorJSON(err))
				}
				answer := map[string]any{"Problems": list}
				if warnings != nil {
					answer["Warnings"] = warnings
				}
				return a.result(answer, problems)
			}
			a.warn(warnings)
			if len(problems) == 0 {
				return a.printf("%s good\n", count(len(files), "file is", "files are"))
			}
			return errors.Join(problems...)
		},
	}
}

func (a *app) checkPolicy(value string) (warnings []string, err error) {
	file := filePath(value)
	switch {
	case value == "-":
		r, err := a.open("the policy", value)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		const most = policy.MaxFile + 1 // longer than a policy can be, which is said of it then
		data, err := readUpTo("the policy", value, io.LimitReader(r, most), most)
		if err != nil {
			return nil, err
		}
		if hasByteOrderMark(data) {
			return nil, markedPolicy("standard input")
		}
		return policy.CheckBytes("standard input", data)
	case file == "":
		return nil, invalid("the policy is %q, expected a file", value).WithHint("Give a path, fileb://path, or - for standard input.")
	}
	check := policy.Check
	if a.isHomes(file) {
		check = policy.CheckHome
	}
	warnings, err = check(file)
	if err != nil && beginsWithMark(file) {
		return nil, markedPolicy(file)
	}
	return warnings, err
}

// markedPolicy is said of a policy that an editor, or PowerShell, has written with a byte order mark.
func markedPolicy(file string) error {
	return kmserr.New(kmserr.PolicyInvalid, "%s starts with a byte order mark, expected plain UTF-8", file).WithHint(notUTF16)
}

func beginsWithMark(file string) bool {
	f, err := openIfOrdinary(file)
	if f == nil || err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(utf8Mark))
	n, _ := io.ReadFull(f, head) // what is shorter has no mark
	return hasByteOrderMark(head[:n])
}

// isHomes reports whether a file is the policy of the home in use, and not of the machine's folder: that may say less.
func (a *app) isHomes(file string) bool {
	home, err := keystore.Locate(a.homeFlag(), "--home")
	if err != nil || filepath.Base(file) != policy.FileName {
		return false
	}
	same := func(x, y string) bool {
		a, errA := os.Stat(x)
		b, errB := os.Stat(y)
		return errA == nil && errB == nil && os.SameFile(a, b)
	}
	return same(filepath.Dir(file), home.Path) && !same(home.Path, keystore.MachineFolder())
}

func deleteNil(errs []error) []error {
	var out []error
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// effectJSON is a rule in force.
type effectJSON struct {
	Rule      string   `json:"Rule"`
	Value     string   `json:"Value"`
	From      []string `json:"From,omitempty"`
	Conflicts []string `json:"Conflicts,omitempty"`
}

func (a *app) policyShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show [KEY]",
		Short: "Show the rules in force, for a key, and where each comes from",
		Long: `Shows the rules in force for a key that is in the store: of the home's policy and of the machine's, combined. What lost against a stricter
rule is said. Without a KEY only what concerns the store and the log is shown.`,
		Example: "  awskms-offline policy show alias/release\n  awskms-offline policy show --output json",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return invalid("%s takes one key, but %s given", c.CommandPath(), given(len(args)))
			}
			v, err := a.openVerifier(0)
			if err != nil {
				return err
			}
			defer v.Close()
			a.warn(v.Policy().Warnings())
			keyID := ""
			if len(args) == 1 {
				keyID = args[0]
			}
			explained, err := v.ExplainPolicy(keyID)
			if err != nil {
				return err
			}
			return a.showPolicy(v, explained)
		},
	}
}

func (a *app) showPolicy(v *verifier.Verifier, explained *verifier.PolicyExplanation) error {
	home := v.Store().Home()
	files := []string{}
	for _, f := range v.Policy().Files() {
		files = append(files, f.Path)
	}
	if a.output == "json" {
		answer := explanationJSON(explained)
		answer["Home"], answer["HomeChosenBy"], answer["Files"] = home.Path, home.ChosenBy, files
		for name, others := range map[string][]verifier.PolicyExplanation{"Replicas": explained.Replicas, "Formers": explained.Formers} {
			var rows []map[string]any
			for _, other := range others {
				rows = append(rows, explanationJSON(&other))
			}
			if rows != nil {
				answer[name] = rows
			}
		}
		return a.json(answer)
	}
	var b strings.Builder
	if len(files) == 0 {
		b.WriteString("No policy: KMS's own rules hold.\n")
	}
	for _, f := range files {
		b.WriteString("Policy: " + plain(f) + "\n")
	}
	if explained.ARN.KeyID != "" {
		b.WriteString("Key: " + explained.ARN.String() + "\n")
	}
	writeRules(&b, explained)
	if len(explained.Replicas) > 0 {
		b.WriteString("It has no record of its own. The records of its replicas answer, and each of them must pass as well:\n")
	}
	for _, replica := range explained.Replicas {
		b.WriteString("Key: " + replica.ARN.String() + "\n")
		writeRules(&b, &replica)
	}
	if len(explained.Formers) > 0 {
		b.WriteString("The alias meant other keys before. Their own rules, aliasHistory above all, say whether it stands for them still:\n")
	}
	for _, former := range explained.Formers {
		b.WriteString("Key: " + former.ARN.String() + "\n")
		writeRules(&b, &former)
	}
	if explained.ARN.KeyID == "" {
		b.WriteString("What holds for a key: " + name + " policy show KEY\n")
	}
	return a.printf("%s", b.String())
}

func explanationJSON(explained *verifier.PolicyExplanation) map[string]any {
	row := map[string]any{"KeyId": explained.ARN.String(), "Rules": effects(explained)}
	if len(explained.Unheeded) > 0 {
		row["Unheeded"] = explained.Unheeded
	}
	return row
}

func effects(explained *verifier.PolicyExplanation) []effectJSON {
	rows := []effectJSON{}
	for _, e := range explained.Effects {
		row := effectJSON{Rule: e.Member, Value: e.Value, Conflicts: e.Conflicts}
		for _, from := range e.From {
			row.From = append(row.From, from.String())
		}
		rows = append(rows, row)
	}
	return rows
}

func writeRules(b *strings.Builder, explained *verifier.PolicyExplanation) {
	for _, e := range effects(explained) {
		b.WriteString("  " + e.Rule + ": " + plain(e.Value))
		if len(e.From) > 0 {
			b.WriteString("  [" + plain(strings.Join(e.From, "; ")) + "]")
		}
		b.WriteString("\n")
		for _, c := range e.Conflicts {
			b.WriteString("    " + plain(c) + "\n")
		}
	}
	for _, sentence := range explained.Unheeded {
		b.WriteString("  " + plain(sentence) + "\n")
	}
}

func (a *app) policyInit() *cobra.Command {
	var strict bool
	var allow []string
	var file string
	c := &cobra.Command{
		Use:   "init --strict [--allow KEY…]",
		Short: "Write a policy file to begin with",
		Long: `Writes a strict policy: only the keys named by --allow verify (exact key ARNs or alias ARNs), their state must be known and at most 720
hours old, the log is required, and nobody but the owner may write the store. A file that is there is never overwritten.`,
		Example: "  awskms-offline policy init --strict --allow arn:aws:kms:us-east-1:111122223333:alias/release",
		Args:    exactly(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			if !strict {
				return invalid("--strict is not given, and there is no other policy to begin with").WithHint("docs/policy.md has examples for each protection.")
			}
			for _, key := range allow {
				if ref, err := kmskey.ParseRef(key); err != nil || ref.Scope.IsZero() {
					return invalid("--allow is %q, expected a key ARN or an alias ARN, which name Region and account", key).
						WithHint("`awskms-offline keys list` shows the ARNs of the keys in the store.")
				}
			}
			data, err := policy.StrictFor(allow...)
			if err != nil {
				return err
			}
			homes := file == ""
			if homes {
				home, err := keystore.Locate(a.homeFlag(), "--home")
				if err != nil {
					return err
				}
				file = filepath.Join(home.Path, policy.FileName)
			}
			switch err := writeNewFor("--file", file, data); {
			case homes && errors.Is(err, fs.ErrExist):
				return invalid("the policy %s is there already", file).WithHint("Edit it, or write another with --file.")
			case err != nil:
				return err
			}
			if len(allow) == 0 {
				a.warn([]string{"this policy allows no key yet: until a grant names one, nothing verifies by it; --allow KEY names one"})
			}
			if a.output == "json" {
				return a.json(map[string]string{"File": file})
			}
			return a.printf("%s\n", file)
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "the strict policy")
	c.Flags().StringSliceVar(&allow, "allow", nil, "a key that may verify: a key ARN or an alias ARN")
	pathVar(c.Flags(), &file, "file", "", "the file to write, which must not exist (default: policy.json in the home)")
	return c
}
