package fileguard

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// TestJudge: who can change what, by access lists as Windows writes them. AU is every user who is logged in, WD everyone, BU
// the Users; 0x1301bf is Modify.
func TestJudge(t *testing.T) {
	const folder, drive = `C:\data\store`, `D:\`
	g := newSystemGuard()
	own := windows.ACCESS_MASK(takeOver | writeInto)
	for name, c := range map[string]struct {
		path, sddl string
		ancestor   bool
		fact, hint string // "" for no finding
		not        string // what the hint has not
	}{
		"administrators alone":    {path: folder, sddl: "O:BAD:(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)"},
		"denied":                  {path: folder, sddl: "O:BAD:(D;;FA;;;WD)(A;;FA;;;BA)"},
		"for heirs only":          {path: folder, sddl: "O:BAD:(A;OICIIO;0x1301bf;;;AU)(A;;FA;;;BA)"},
		"inherited":               {path: folder, sddl: "O:BAD:(A;ID;0x1301bf;;;AU)(A;;FA;;;BA)", fact: folder + " can be written by ", hint: "/inheritance:r /grant:r", not: "/remove"},
		"explicit":                {path: folder, sddl: "O:BAD:(A;;0x1301bf;;;AU)(A;;0x2;;;WD)(A;;FA;;;BA)", fact: folder + " can be written by ", hint: `/remove:g "*S-1-5-11" "*S-1-1-0"`},
		"twice":                   {path: folder, sddl: "O:BAD:(A;;0x1301bf;;;AU)(A;OICI;FA;;;AU)(A;;FA;;;BA)", fact: folder + " can be written by ", hint: `/remove:g "*S-1-5-11"`, not: `"*S-1-5-11" "*S-1-5-11"`},
		"no list":                 {path: folder, sddl: "", fact: "no access list", hint: "/grant:r", not: "/remove"},
		"another's":               {path: folder, sddl: "O:BUD:(A;;FA;;;BA)", fact: folder + " belongs to ", hint: "takeown"},
		"above, added to":         {path: folder, sddl: "O:BAD:(A;;0x6;;;AU)(A;;FA;;;BA)", ancestor: true},
		"above, modified":         {path: folder, sddl: "O:BAD:(A;;0x1301bf;;;AU)(A;;FA;;;BA)", ancestor: true, fact: folder + " can be written by ", hint: moveBelow + "; or, if this folder is there for it alone, check"},
		"a new volume":            {path: drive, sddl: "O:BAD:(A;;0x1301bf;;;AU)(A;OICIIO;0x1301bf;;;AU)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)", ancestor: true},
		"a new volume, the store": {path: drive, sddl: "O:BAD:(A;;0x1301bf;;;AU)(A;;FA;;;BA)", fact: drive + " can be written by ", hint: "/remove:g"},
		"a drive of everyone":     {path: drive, sddl: "O:BAD:(A;;FA;;;WD)", ancestor: true, fact: drive + " can be written by ", hint: moveBelow, not: "icacls"},
		"a drive, names removed":  {path: drive, sddl: "O:BAD:(A;;0x40;;;AU)", ancestor: true, fact: drive + " can be written by ", hint: moveBelow, not: "icacls"},
		"a drive of another":      {path: drive, sddl: "O:BUD:(A;;FA;;;BA)", ancestor: true, fact: drive + " belongs to ", hint: moveBelow, not: "takeown"},
	} {
		t.Run(name, func(t *testing.T) {
			sd := descriptor(t, c.sddl)
			found := g.judge(c.path, true, sd, own)
			if c.ancestor {
				found = g.judgeAncestor(c.path, true, sd)
			}
			if found == nil {
				if c.fact != "" {
					t.Errorf("nothing was found, expected that it %s", c.fact)
				}
				return
			}
			if c.fact == "" || !strings.Contains(found.fact, c.fact) || !strings.Contains(found.hint, c.hint) || c.not != "" && strings.Contains(found.hint, c.not) || found.warning {
				t.Errorf("got %+v", found)
			}
		})
	}
}

// descriptor returns what sddl says; of "" one of the Administrators without an access list.
func descriptor(t *testing.T, sddl string) *windows.SECURITY_DESCRIPTOR {
	t.Helper()
	if sddl != "" {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatal(err)
		}
		return sd
	}
	sd, err := windows.NewSecurityDescriptor()
	if err != nil {
		t.Fatal(err)
	}
	administrators, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sd.SetOwner(administrators, false), sd.SetDACL(nil, true, false)); err != nil {
		t.Fatal(err)
	}
	return sd
}

func TestIsDrive(t *testing.T) {
	for path, want := range map[string]bool{`C:\`: true, `d:\`: true, `C:\a`: false, `C:`: false, `\\s\d\`: false, ``: false, `\\s`: false} {
		if isDrive(path) != want {
			t.Errorf("%s: expected %t", path, want)
		}
	}
}
