package fileguard

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

const nonblock = 0

// Rights with which somebody could change what is read here. Those to change attributes are not among them.
const (
	takeOver = windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER | windows.GENERIC_WRITE | windows.GENERIC_ALL |
		fileDeleteChild
	// of a folder these are "add a file" and "add a folder"
	writeInto       = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.FILE_WRITE_EA
	fileDeleteChild = 0x40
)

type systemGuard struct {
	trusted []*windows.SID
	err     error
}

// trustedInstaller owns what Windows itself installed, such as the root of the system drive.
const trustedInstaller = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

func newSystemGuard() systemGuard {
	var g systemGuard
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return systemGuard{err: err}
	}
	g.trusted = append(g.trusted, user.User.Sid)
	for _, known := range []windows.WELL_KNOWN_SID_TYPE{windows.WinLocalSystemSid, windows.WinBuiltinAdministratorsSid,
		// The rights of whoever owns the file, and of whoever will: the owner is checked.
		windows.WinCreatorOwnerSid, windows.WinCreatorOwnerRightsSid} {
		sid, err := windows.CreateWellKnownSid(known)
		if err != nil {
			return systemGuard{err: err}
		}
		g.trusted = append(g.trusted, sid)
	}
	installer, err := windows.StringToSid(trustedInstaller)
	if err != nil {
		return systemGuard{err: err}
	}
	g.trusted = append(g.trusted, installer)
	return g
}

func (g systemGuard) trusts(sid *windows.SID) bool {
	for _, t := range g.trusted {
		if sid != nil && sid.Equals(t) {
			return true
		}
	}
	return false
}

func (g systemGuard) check(h handle) *finding {
	var found *finding
	err := h.with(func(f *os.File) error {
		sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT,
			windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
		if err != nil {
			return err
		}
		found = g.judge(h.path, h.info.IsDir(), sd, takeOver|writeInto)
		return nil
	})
	if err != nil {
		return cannotTell(h.path, err)
	}
	return found
}

// checkAncestor lets others add to a folder above the home, as every user may at the root of a drive, but not delete or
// rename it or what lies in it.
func (g systemGuard) checkAncestor(path string, info fs.FileInfo) *finding {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return cannotTell(path, err)
	}
	return g.judgeAncestor(path, info.IsDir(), sd)
}

func (g systemGuard) judgeAncestor(path string, folder bool, sd *windows.SECURITY_DESCRIPTOR) *finding {
	forbidden := windows.ACCESS_MASK(takeOver)
	if isDrive(path) {
		// Nobody deletes or renames a volume's root, and a new NTFS volume lets every user modify it: (M), which has DELETE.
		forbidden &^= windows.DELETE
	}
	found := g.judge(path, folder, sd, forbidden)
	switch {
	case found == nil || found.hint == useNTFS:
	case isDrive(path): // its rights are everybody's matter
		found.hint = moveBelow
	default:
		found.hint = moveBelow + "; or, if this folder is there for it alone, " + found.hint
	}
	return found
}

const moveBelow = "move the store below folders that only the current user, SYSTEM and the Administrators can change"

// isDrive reports whether a path is the root of a drive, such as C:\.
func isDrive(path string) bool { return len(path) == 3 && path[1:] == `:\` }

const useNTFS = "use an NTFS drive of this machine, or accept the risk with --unsafe-store-permissions, which the command line alone has"

func cannotTell(path string, err error) *finding {
	return &finding{fact: fmt.Sprintf("who can write %s cannot be told: %v", path, err), hint: useNTFS}
}

func (g systemGuard) judge(path string, folder bool, sd *windows.SECURITY_DESCRIPTOR, forbidden windows.ACCESS_MASK) *finding {
	if g.err != nil {
		return cannotTell(path, g.err)
	}
	owner, _, err := sd.Owner()
	if err != nil || owner == nil {
		return cannotTell(path, fmt.Errorf("no owner (%v)", err))
	}
	if !g.trusts(owner) {
		return &finding{
			fact: fmt.Sprintf("%s belongs to %s, expected the current user, SYSTEM or the Administrators", path, nameOf(owner)),
			hint: "check that its content is yours, then run: takeown /F " + shellQuote(path)}
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return cannotTell(path, err)
	}
	if dacl == nil {
		return g.writable(path, folder, "everyone, as it has no access list", nil)
	}
	var writer *windows.SID // the first found
	var own []*windows.SID  // those whose entry is not inherited
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return cannotTell(path, err)
		}
		if ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 {
			continue // says nothing about this one; what inherits it is checked itself
		}
		switch ace.Header.AceType {
		case windows.ACCESS_DENIED_ACE_TYPE:
			continue // denies only take away: not counting them is the strict reading
		case windows.ACCESS_ALLOWED_ACE_TYPE:
		default:
			return cannotTell(path, fmt.Errorf("its access list has an entry of type %d", ace.Header.AceType))
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if ace.Mask&forbidden == 0 || g.trusts(sid) {
			continue
		}
		if writer == nil {
			writer = sid
		}
		if ace.Header.AceFlags&windows.INHERITED_ACE == 0 {
			own = append(own, sid)
		}
	}
	if writer == nil {
		return nil
	}
	return g.writable(path, folder, nameOf(writer), own)
}

// writable is the finding that who can write; own are those whose entries do not go with the inherited ones.
func (g systemGuard) writable(path string, folder bool, who string, own []*windows.SID) *finding {
	heirs := "" // of a folder what lies in it has the same rights
	if folder {
		heirs = "(OI)(CI)"
	}
	user, system, administrators := g.trusted[0], g.trusted[1], g.trusted[2]
	// By SID, as names are translated.
	grants := fmt.Sprintf(` "*%s:%sF" "*%s:%sF"`, system, heirs, administrators, heirs)
	shared := ofTheMachine(path)
	if shared { // every user reads it, and none may write it: the others would refuse what one can write
		grants += fmt.Sprintf(` "*%s:%sRX"`, users, heirs)
	} else {
		grants = fmt.Sprintf(` "*%s:%sF"`, user, heirs) + grants
	}
	remove := ""
	for _, sid := range own {
		entry := fmt.Sprintf(` "*%s"`, sid)
		if shared && sid.String() == users || strings.Contains(remove, entry) {
			continue // its new entry takes the place of the old one, or it is there
		}
		remove += entry
	}
	if remove != "" {
		grants += " /remove:g" + remove
	}
	return &finding{
		fact: fmt.Sprintf("%s can be written by %s", path, who),
		hint: fmt.Sprintf("check its content, then run: icacls %s /inheritance:r /grant:r%s", shellQuote(path), grants)}
}

// users is the SID of the group Users, of everybody who has an account here.
const users = "S-1-5-32-545"

// ofTheMachine reports whether a path lies below the ProgramData folder, which holds what is for every user. The system is
// asked, as the environment variable could say anything.
func ofTheMachine(path string) bool {
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return false
	}
	data += `\`
	return len(path) > len(data) && strings.EqualFold(path[:len(data)], data)
}

// publishing says how everybody is let to read a folder. What is written there later inherits that.
func publishing(folder string) string {
	return fmt.Sprintf(`run as an administrator: icacls %s /grant "*%s:(OI)(CI)RX" /T`, shellQuote(folder), users)
}

func nameOf(sid *windows.SID) string {
	if account, domain, _, err := sid.LookupAccount(""); err == nil {
		return strings.TrimPrefix(domain+`\`+account, `\`)
	}
	return sid.String()
}

// shellQuote returns path as one word of cmd.exe; no Windows path holds a quotation mark.
func shellQuote(path string) string {
	if strings.ContainsAny(path, " &()^%!") {
		return `"` + path + `"`
	}
	return path
}
