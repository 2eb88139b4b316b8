package kmstest

import (
	"net/http"
	"regexp"
	"strings"
)

// Caller is who an access key belongs to.
type Caller struct {
	// Account is the caller's account: a bare key ID or alias name is looked up in it.
	Account string
	// ARN is the user or role, as AccessDeniedException tells it.
	ARN string
}

// identity is what the signature of a request says, and whom its access key belongs to.
type identity struct {
	Caller
	accessKeyID string
	region      string
	partition   string
}

// credentialPattern is the Credential of Signature Version 4: ACCESS_KEY_ID/DATE/REGION/SERVICE/aws4_request.
var credentialPattern = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([A-Za-z0-9_]{1,128})/[0-9]{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?SignedHeaders=[^,]+, ?Signature=[0-9a-f]{64}$`)

// SetCaller says whom an access key ID belongs to. Access keys of whom nothing was said belong to a user "tester" of the
// default account.
func (s *Server) SetCaller(accessKeyID string, caller Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callers[accessKeyID] = caller
}

// authenticate reads the signature. It does not verify it: the fake keeps no secret keys.
func (s *Server) authenticate(header http.Header) (identity, *Error) {
	value := header.Get("Authorization")
	if value == "" {
		return identity{}, &Error{Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"}
	}
	m := credentialPattern.FindStringSubmatch(value)
	if m == nil {
		return identity{}, &Error{Code: "IncompleteSignatureException",
			Message: "Authorization header is not a well-formed AWS4-HMAC-SHA256 signature."}
	}
	id := identity{accessKeyID: m[1], region: m[2], partition: Partition(m[2])}
	if m[3] != "kms" {
		return id, &Error{Code: "InvalidSignatureException",
			Message: "Credential should be scoped to correct service: 'kms'. "}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	caller, ok := s.callers[m[1]]
	if !ok {
		caller = Caller{Account: DefaultAccount}
	}
	if caller.ARN == "" {
		caller.ARN = "arn:" + id.partition + ":iam::" + caller.Account + ":user/tester"
	}
	id.Caller = caller
	return id, nil
}

// denial forbids an action on the ARNs that match a pattern.
type denial struct {
	action  string
	pattern string
	// alias, "alias/NAME", lifts it from requests that name the key by it.
	alias string
}

// Deny forbids an action ("GetPublicKey", "kms:GetPublicKey", or "*") on all resources whose ARN matches the pattern, in
// which * stands for any text; ListKeys and ListAliases have the resource "*". The function it returns takes it back.
func (s *Server) Deny(action, pattern string) (allow func()) {
	return s.deny(&denial{action: strings.TrimPrefix(action, "kms:"), pattern: pattern})
}

// DenyUnlessBy is Deny for all requests that do not name the key by this alias, by its name or ARN: a policy with the
// condition key kms:RequestAlias (Developer Guide, "AWS KMS condition keys").
func (s *Server) DenyUnlessBy(alias, action, pattern string) (allow func()) {
	return s.deny(&denial{action: strings.TrimPrefix(action, "kms:"), pattern: pattern, alias: alias})
}

func (s *Server) deny(d *denial) (allow func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denials[d] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.denials, d)
	}
}

// authorize answers the error of a denied action. The lock is held.
func (s *Server) authorize(c *call, resource string) *Error {
	for d := range s.denials {
		if d.alias != "" && c.in.KeyId != nil && (*c.in.KeyId == d.alias || strings.HasSuffix(*c.in.KeyId, ":"+d.alias)) {
			continue
		}
		if (d.action == "*" || d.action == c.operation) && matches(d.pattern, resource) {
			return accessDenied(c.Caller, c.operation, resource)
		}
	}
	return nil
}

// matches tells whether the text is the pattern, in which * stands for any text.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}
