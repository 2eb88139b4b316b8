// Package kmstest is a fake AWS KMS for tests: an HTTP server on loopback that speaks AWS JSON 1.1 to the real AWS SDK
// and to the AWS CLI, with real keys of every key spec.
//
//	server := kmstest.Start(t)
//	arn := server.AddKey(kmstest.Key{Spec: "SM2", Region: "cn-north-1", Aliases: []string{"alias/release"}})
//	server.SetState(arn, kmstest.State{Name: "Disabled"})
//	client := kms.New(kms.Options{BaseEndpoint: aws.String(server.URL()), …})
//
// It signs with crypto/*, gmsm, decred's secp256k1 and filippo.io/mldsa and shares no code with the verifier, so that
// a mistake of the one is not a mistake of the other. Where an answer of the real service is on record the fake gives
// that answer: the tests hold it against the signatures of testdata captured from KMS.
//
// What is faithful: identifiers (key ID, key ARN, alias name, alias ARN; the Region is that of the request's signature,
// the account that of its access key), the members of answers, the order of algorithms, the form of times, the names of
// errors and their status (400 for whatever the caller did, 500 or 503 for the service's own), pagination, key states,
// and signatures to the bit. The texts of errors are those seen from KMS or its clients, but for these, which are ours:
// InvalidArnException for what is no ARN of KMS, InvalidMarkerException, the states Unavailable, Creating and
// PendingReplicaDeletion, UpdateAlias to a key of another kind, and every text that begins with "kmstest:".
//
// What is not: signatures of requests are read, not verified; key policies and grants do not exist (every caller may do
// everything that Deny does not forbid); nothing happens by itself, so a key pending deletion stays; members of answers
// come in alphabetical order; and Verify knows no EXTERNAL_MU, which no library at hand verifies.
//
// Tests steer it by its methods. Tests of another module, which cannot import it, run it as a program (testdata/fakekms)
// and steer it by the KMS API itself: CreateKey, CreateAlias, UpdateAlias, DeleteAlias, EnableKey, DisableKey,
// ScheduleKeyDeletion, CancelKeyDeletion, TagResource and UntagResource do what they do in KMS.
//
// Three things to know of the SDK, seen with it: a client that is as near as this may lose a race with itself and ask
// once more, so requests can be one or two more than calls; a connection cut inside an answer is not tried again, one cut
// before it is; and an answer of 200 without a body is a success without members.
//
// A method that is called wrongly (an unknown ARN, a malformed ID) panics: that is a mistake of the test, not a case.
package kmstest
