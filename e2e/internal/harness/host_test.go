package harness

import (
	"slices"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"notation", "verify", "127.0.0.1:80/a@sha256:00"}, "notation verify 127.0.0.1:80/a@sha256:00"},
		{[]string{"x", ""}, "x ''"},
		{[]string{"x", "two words", "it's", "$HOME", "*"}, `x 'two words' 'it'\''s' '$HOME' '*'`},
	} {
		if got := CommandLine(test.args[0], test.args[1:]...); got != test.want {
			t.Errorf("CommandLine(%q) = %s, want %s", test.args, got, test.want)
		}
	}
}

// TestReasons: what notation 1.3.2 printed. The line with the trust policy names an ARN and gives no reason.
func TestReasons(t *testing.T) {
	const stderr = `level=info msg=Trust policy configuration: &{Name:x TrustedIdentities:[arn:aws:kms:us-east-1:111122223333:key/a]}
level=warning msg=Signature sha256:00 failed verification with error: trusted identify verification by plugin "awskms-offline" failed with reason "the key \"b\" in C:\\keys"
Warning: revocation was set to "log" and failed with error: revocation check by verification plugin "awskms-offline" failed with reason "Disabled"
Error: signature verification failed for all the signatures associated with 127.0.0.1:80/a@sha256:00
`
	want := []string{
		`trusted identify verification by plugin "awskms-offline" failed with reason "the key "b" in C:\keys"`,
		`Warning: revocation was set to "log" and failed with error: revocation check by verification plugin "awskms-offline" failed with reason "Disabled"`,
	}
	if got := Reasons(stderr); !slices.Equal(got, want) {
		t.Errorf("Reasons:\n%q\nwant\n%q", got, want)
	}
}
