package keystore

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Fsck looks at everything in the home and yields what is wrong: records that cannot be read, contradict themselves or
// lie where another belongs; aliases that cannot be read or mean a key without a record; blocks that cannot be read; an
// index that lacks something; and what has no business there. It changes nothing. A sound store yields nothing; a crash
// leaves half-written files in tmp, which are no problem.
func (s *Store) Fsck() iter.Seq[Problem] {
	return func(yield func(Problem) bool) {
		c := &checker{Store: s, yield: yield}
		for _, check := range []func(){c.top, c.records, c.aliases, c.blocks, c.markers} {
			if check(); c.stopped {
				return
			}
		}
	}
}

type checker struct {
	*Store
	yield   func(Problem) bool
	stopped bool

	missing []marker // index entries that records ask for and that are not there
}

func (c *checker) report(p Problem) {
	if !c.stopped && !c.yield(p) {
		c.stopped = true
	}
}

// fault reports err as it is: most of the store's errors name the file and the cure.
func (c *checker) fault(rel string, err error) {
	e := known(err)
	c.report(Problem{Path: c.abs(rel), KeyARN: e.KeyARN, Fact: e.Fact, Remedy: e.Hint})
}

func (c *checker) stray(rel, expected string) {
	c.report(Problem{Path: c.abs(rel), Harmless: true,
		Fact:   fmt.Sprintf("%s does not belong to the store, which has %s there", c.abs(rel), expected),
		Remedy: "Move it elsewhere; nothing reads it."})
}

// hidden are files of file managers, of version control and of a ConfigMap volume, where such are common.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

func (c *checker) top() {
	ours := append([]string{keysFolder, aliasesFolder, blocksFolder, indexFolder, tmpFolder, lockFile}, foreignNames...)
	names, _, err := c.names(".", 0)
	if err != nil {
		c.fault(".", err)
		return
	}
	for _, name := range names {
		if !slices.Contains(ours, name) && !hidden(name) && !strings.HasPrefix(name, logPrefix) {
			c.stray(name, strings.Join(ours, ", "))
		}
	}
}

// tree visits the files below base, which has a folder for every partition, Region and account.
func (c *checker) tree(base string, visit func(scope kmskey.Scope, file string)) {
	levels := []string{"partitions", "Regions", "accounts"}
	var descend func(rel string, walked []string)
	descend = func(rel string, walked []string) {
		if c.stopped {
			return
		}
		names, _, err := c.names(rel, 0)
		if err != nil {
			c.fault(rel, err)
			return
		}
		for _, name := range names {
			switch {
			case hidden(name):
			case len(walked) == len(parts):
				visit(kmskey.Scope{Partition: walked[0], Region: walked[1], Account: walked[2]}, name)
			case !parts[len(walked)](name):
				c.stray(rel+"/"+name, levels[len(walked)])
			default:
				descend(rel+"/"+name, append(slices.Clone(walked), name))
			}
		}
	}
	descend(base, nil)
}

func (c *checker) records() {
	c.tree(keysFolder, func(scope kmskey.Scope, file string) {
		rel := scopePath(keysFolder, scope) + "/" + file
		id, ok := strings.CutSuffix(file, suffix)
		if !ok || !isKeyID(id) {
			c.stray(rel, "records named KEY-ID.json")
			return
		}
		arn := kmskey.ARN{Scope: scope, KeyID: id}
		entry, err := c.readRecord(arn)
		switch {
		case errors.Is(err, errAbsent):
			return // removed since
		case err != nil:
			c.fault(rel, err)
			return
		}
		mark := marker{indexPath(entry.Key.Fingerprint()) + "/" + markerName(arn), entry.Key.Fingerprint(), arn, true}
		if there, err := c.exists(mark.rel); err != nil {
			c.fault(mark.rel, err)
		} else if !there {
			c.missing = append(c.missing, mark)
		}
	})
}

func (c *checker) aliases() {
	c.tree(aliasesFolder, func(scope kmskey.Scope, file string) {
		rel := scopePath(aliasesFolder, scope) + "/" + file
		name, ok := strings.CutSuffix(file, suffix)
		hashed := strings.HasPrefix(name, "~") && isFingerprint(name[1:])
		if _, escaped := unescapeAlias(name); !ok || (!escaped && !hashed) {
			c.stray(rel, "alias files named by the escaped alias")
			return
		}
		alias, err := c.readAliasFile(scope, name)
		switch {
		case errors.Is(err, errAbsent):
			return
		case err != nil:
			c.fault(rel, err)
			return
		case alias.TargetKeyID == "":
			return
		}
		there, err := c.exists(recordPath(alias.Target()))
		switch {
		case err != nil:
			c.fault(rel, err)
		case !there:
			c.report(Problem{Path: alias.Path, KeyARN: alias.ARN.String(), Repairable: len(alias.History) == 0,
				Fact:   fmt.Sprintf("the alias %s means %s, of which there is no record", alias.ARN, alias.Target()),
				Remedy: fmt.Sprintf("It meant other keys before, so a repair keeps it. Import that key, or run `awskms-offline keys remove %s`.", alias.ARN)})
		}
	})
}

func (c *checker) blocks() {
	names, _, err := c.names(blocksFolder, 0)
	if err != nil {
		c.fault(blocksFolder, err)
		return
	}
	for _, file := range names {
		name, ok := strings.CutSuffix(file, suffix)
		if (!ok || !isFingerprint(name)) && file != "arn" && !hidden(file) {
			c.stray(blocksFolder+"/"+file, "blocks named by the SHA-256 of the public key, and the folder arn")
		}
	}
	c.tree(blockedARNs, func(scope kmskey.Scope, file string) {
		if id, ok := strings.CutSuffix(file, suffix); !ok || !isKeyID(id) {
			c.stray(scopePath(blockedARNs, scope)+"/"+file, "blocks named KEY-ID.json")
		}
	})
	for b, err := range c.AllBlocks() {
		if err != nil {
			e := known(err)
			c.report(Problem{Path: b.Path, KeyARN: e.KeyARN, Fact: e.Fact, Remedy: e.Hint})
		} else if b.PublicKeySHA256 != "" {
			if there, err := c.exists(blockPathOfKey(b.PublicKeySHA256)); err == nil && !there {
				c.report(Problem{Path: b.Path, KeyARN: b.KeyID,
					Fact:   fmt.Sprintf("%s blocks the public key %s, but the block by that key is not there, so other names of the key may not be blocked", b.Path, b.PublicKeySHA256),
					Remedy: "Block the key again."})
			}
		}
		if c.stopped {
			return
		}
	}
}

// markers checks the by-key index. A store that was put together by hand, such as a ConfigMap volume, has none: that is
// one problem and not one for every key, and a harmless one as long as nothing is blocked by ARN.
func (c *checker) markers() {
	there, err := c.exists(indexFolder)
	if err != nil {
		c.fault(indexFolder, err)
		return
	}
	if !there {
		if len(c.missing) > 0 {
			blocked, err := c.exists(blockedARNs)
			c.report(Problem{Path: c.abs(indexFolder), Repairable: true, Harmless: err == nil && !blocked,
				Fact:   fmt.Sprintf("the index of keys by their material, %s, is not there", c.abs(indexFolder)),
				Remedy: "Repair the store where it can be written; until then a key that is blocked by ARN is not known by its other names."})
		}
		return
	}
	for _, mark := range c.missing {
		c.report(Problem{Path: c.abs(mark.rel), KeyARN: mark.arn.String(), Repairable: true,
			Fact:   fmt.Sprintf("the index lacks %s, which has the public key %s", mark.arn, mark.fingerprint),
			Remedy: "Repair the store: the index is made anew from the records."})
	}
	for mark, err := range c.index() {
		switch {
		case c.stopped:
			return
		case err != nil:
			c.fault(mark.rel, err)
			continue
		case hidden(mark.rel[strings.LastIndexByte(mark.rel, '/')+1:]):
			continue
		case !mark.ok:
			// Below the folder of a key anything odd makes the look-up of that key's blocks refuse.
			c.report(Problem{Path: c.abs(mark.rel),
				Fact: fmt.Sprintf("%s does not belong to the index", c.abs(mark.rel)), Remedy: "Remove it."})
			continue
		}
		entry, err := c.readRecord(mark.arn)
		if (errors.Is(err, errAbsent) || err == nil && entry.Key.Fingerprint() != mark.fingerprint) && !c.blockedByName(mark.arn) {
			c.report(Problem{Path: c.abs(mark.rel), KeyARN: mark.arn.String(), Repairable: true, Harmless: true,
				Fact:   fmt.Sprintf("the index has %s for the public key %s, but there is no such record", mark.arn, mark.fingerprint),
				Remedy: "Repair the store: the index is made anew from the records."})
		}
	}
}
