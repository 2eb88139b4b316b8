package kmstest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// TestManage steers the fake by the API alone, as a process of another module does.
func TestManage(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	ctx := context.Background()
	create := func(spec, usage string) string {
		t.Helper()
		created, err := c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpec(spec), KeyUsage: types.KeyUsageType(usage),
			Description: aws.String("made by the API"), Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("1")}}})
		if err != nil {
			t.Fatal(err)
		}
		return *created.KeyMetadata.Arn
	}
	state := func(arn, want string) *types.KeyMetadata {
		t.Helper()
		described, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
		if err != nil {
			t.Fatal(err)
		}
		if string(described.KeyMetadata.KeyState) != want {
			t.Errorf("state is %s, want %s", described.KeyMetadata.KeyState, want)
		}
		return described.KeyMetadata
	}
	good := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}

	arn, other := create("ECC_NIST_P256", "SIGN_VERIFY"), create("ECC_NIST_P384", "SIGN_VERIFY")
	if m := state(arn, "Enabled"); *m.Description != "made by the API" || m.KeySpec != "ECC_NIST_P256" {
		t.Errorf("%+v", m)
	}
	if third := create("ECC_NIST_P256", "SIGN_VERIFY"); publicKey(t, c, third) == publicKey(t, c, arn) {
		t.Error("two keys made by CreateKey have one public key")
	}
	hmac := create("HMAC_256", "GENERATE_VERIFY_MAC")
	primary, err := c.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil || !strings.Contains(*primary.KeyMetadata.Arn, ":key/mrk-") || primary.KeyMetadata.KeySpec != "SYMMETRIC_DEFAULT" {
		t.Errorf("%+v %v", primary, err)
	}
	_, err = c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: "ECC_NIST_P256"})
	wantError(t, err, "ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.", 400)
	_, err = c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: "ECC_NIST_P256", KeyUsage: "ENCRYPT_DECRYPT"})
	wantError(t, err, "ValidationException", "KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ECC_NIST_P256", 400)
	if _, err = c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: "RSA_1024"}); err == nil {
		t.Error("RSA_1024 was made")
	}

	// Aliases.
	const prefix = "arn:aws:kms:us-east-1:111122223333:"
	good(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/release"), TargetKeyId: &arn}))
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/release"), TargetKeyId: &arn})
	wantError(t, err, "AlreadyExistsException", "An alias with the name "+prefix+"alias/release already exists", 400)
	if state("alias/release", "Enabled"); *state("alias/release", "Enabled").Arn != arn {
		t.Error("the alias has another key")
	}
	good(c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/release"), TargetKeyId: &other}))
	if *state("alias/release", "Enabled").Arn != other {
		t.Error("the alias did not move")
	}
	if _, err = c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/release"), TargetKeyId: &hmac}); err == nil {
		t.Error("an alias moved to a key of another kind")
	}
	_, err = c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/none"), TargetKeyId: &arn})
	wantError(t, err, "NotFoundException", "Alias "+prefix+"alias/none is not found.", 400)
	good(c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/release")}))
	_, err = c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/release")})
	wantError(t, err, "NotFoundException", "Alias "+prefix+"alias/release is not found.", 400)
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("release"), TargetKeyId: &arn})
	wantError(t, err, "ValidationException",
		"Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html", 400)
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/aws/mine"), TargetKeyId: &arn})
	wantError(t, err, "NotAuthorizedException", "UnknownError", 400)
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/a b"), TargetKeyId: &arn})
	wantError(t, err, "InvalidAliasNameException", "", 400)

	// States.
	good(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &arn}))
	state(arn, "Disabled")
	good(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn}))
	state(arn, "Enabled")
	_, err = c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn})
	wantError(t, err, "KMSInvalidStateException", arn+" is not pending deletion.", 400)
	scheduled, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: aws.Int32(7)})
	if err != nil || scheduled.KeyState != "PendingDeletion" || *scheduled.PendingWindowInDays != 7 ||
		!scheduled.DeletionDate.Equal(*state(arn, "PendingDeletion").DeletionDate) {
		t.Errorf("%+v %v", scheduled, err)
	}
	_, err = c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn})
	wantError(t, err, "KMSInvalidStateException", arn+" is pending deletion.", 400)
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/late"), TargetKeyId: &arn})
	wantError(t, err, "KMSInvalidStateException", arn+" is pending deletion.", 400)
	good(c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn}))
	if m := state(arn, "Disabled"); m.DeletionDate != nil {
		t.Errorf("DeletionDate %v after the deletion was called off", m.DeletionDate)
	}
	_, err = c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: aws.Int32(6)})
	wantError(t, err, "ValidationException", "1 validation error detected: Value '6' at 'pendingWindowInDays' failed to satisfy constraint: "+
		"Member must have value greater than or equal to 7", 400)
	everywhere := s.AddKey(kmstest.Key{Material: material(t, "p256-mrk"), MultiRegion: true, Replicas: []string{"eu-west-1"}})
	good(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &everywhere}))
	if m := state(everywhere, "PendingReplicaDeletion"); m.DeletionDate != nil || *m.PendingDeletionWindowInDays != 30 {
		t.Errorf("%+v", m)
	}

	// Tags.
	good(c.TagResource(ctx, &kms.TagResourceInput{KeyId: &other, Tags: []types.Tag{
		{TagKey: aws.String("a"), TagValue: aws.String("2")}, {TagKey: aws.String("b"), TagValue: aws.String("3")}}}))
	good(c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: &other, TagKeys: []string{"b", "c"}}))
	tags, err := c.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: &other})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].TagKey != "a" || *tags.Tags[0].TagValue != "2" {
		t.Errorf("%+v %v", tags, err)
	}
}

func publicKey(t testing.TB, c *kms.Client, id string) string {
	t.Helper()
	public, err := getPublicKey(c, id)
	if err != nil {
		t.Fatal(err)
	}
	return string(public.PublicKey)
}
