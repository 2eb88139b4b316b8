package verifier

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// machineFolder is where the machine's policy would be. Tests name another.
var machineFolder = keystore.MachineFolder

// reload reads what is in force for a home: its own policy and the machine's, and which folder that home was.
type reload func() (rules policy.Policy, home fs.FileInfo, err error)

// rulesOf returns what reads the policies of a home. That a policy of the machine cannot be looked for is not that there is
// none.
func rulesOf(home string, unsafe bool) reload {
	var loader policy.Loader
	return func() (policy.Policy, fs.FileInfo, error) {
		machine := machineFolder()
		if machine == "" {
			return nil, nil, kmserr.New(kmserr.PolicyInvalid, "the system does not say where this machine's policy would be").
				WithHint("Windows is asked for its ProgramData folder and knows none: whoever runs this machine can mend that.")
		}
		return loader.Load(policy.Options{Home: home, MachineFolder: machine, UnsafePermissions: unsafe})
	}
}

// loadPolicy is rulesOf for who needs the rules once, and nothing else of the home.
func loadPolicy(home string, unsafe bool) (policy.Policy, error) {
	rules, _, err := rulesOf(home, unsafe)()
	return rules, err
}

// unsafeUnder is what becomes of a caller's wish to have no permissions checked.
func unsafeUnder(rules policy.Policy, unsafe bool) bool {
	return unsafe && !rules.Store().StrictPermissions
}

// StoreOptions returns how the store of a home is opened under the policy in force, for whoever reads or writes it and asks
// for no decision. The error is why the policy cannot be told. It may be one that wants strict permissions, so the options then
// say so: what they refuse, nobody can have wanted to be taken.
func StoreOptions(home string, unsafe bool) (keystore.Options, error) {
	rules, err := loadPolicy(home, unsafe)
	return keystore.Options{UnsafePermissions: unsafe, StrictPermissions: err != nil || rules.Store().StrictPermissions}, err
}

// openLog returns the log that the policy asks for, nil if it asks for none.
func openLog(rules policy.LogRules, unsafe bool) audit.Log {
	if rules.Off {
		return nil
	}
	path := rules.Path
	if path == "" {
		var err error
		if path, err = audit.DefaultPath(); err != nil {
			return noLog{err, rules.Required}
		}
	}
	log, err := audit.NewFileLog(logConfig(rules, path, unsafe))
	if err != nil {
		return noLog{err, rules.Required}
	}
	return log
}

func logConfig(rules policy.LogRules, path string, unsafe bool) audit.Config {
	return audit.Config{Path: path, Writer: os.Stderr, Required: rules.Required, NoSync: !rules.Sync, RotateBytes: rules.RotateBytes, UnsafePermissions: unsafe}
}

// noLog is a log that has no place: every line is lost, and says so.
type noLog struct {
	err      error
	required bool
}

func (l noLog) Append(context.Context, audit.Decision) error { return l.err }
func (l noLog) Required() bool                               { return l.required }

// LogRefusal writes the line of a call that was refused before the verifier was asked: one that cannot be read, or whose
// store cannot be opened. asked is the identifier, as far as there is one. The refusal stands whatever becomes of the
// line; the error is why there is none, and Unlogged tells it. Where the home's policy is what cannot be read, the
// machine's says where the line goes.
func LogRefusal(ctx context.Context, o Options, event, asked string, refusal error) error {
	home, _ := keystore.Locate(o.Home, o.HomeOption) // without one, the machine's policy may say where the log is all the same
	rules, err := loadPolicy(home.Path, o.UnsafeStorePermissions)
	if err != nil {
		rules, err = loadPolicy("", o.UnsafeStorePermissions)
	}
	if err != nil {
		rules = policy.None{}
	}
	log := openLog(rules.Log(), unsafeUnder(rules, o.UnsafeStorePermissions))
	if log == nil {
		return nil
	}
	e := kmserr.As(refusal)
	return log.Append(ctx, audit.Decision{
		EventTime: kmskey.Time{Time: time.Now().UTC()}, EventName: event, FrontEnd: o.FrontEnd,
		Home: home.Path, HomeChosenBy: home.ChosenBy, Asked: asked, KeyARN: e.KeyARN,
		ErrorCode: string(e.Name), ErrorMessage: e.Fact,
	})
}
