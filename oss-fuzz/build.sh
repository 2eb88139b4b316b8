#!/bin/bash -eu
# Builds the fuzz targets in OSS-Fuzz's builder image. A test in internal/fuzzall holds the list to the targets there are.

# The targets run where only $OUT is: what they read lies there.
cp -r testdata docs "$OUT/"
find cmd plugin verifier -name '*_test.go' -exec sed -i -E "s#\"(\.\./)+(testdata|docs)#\"$OUT/\2#g" {} +

# A package of tests beside the one with the targets is no part of a target.
grep -rlE '^package .*_test$' --include='*_test.go' cmd internal plugin verifier | xargs rm -f

target() {
  compile_native_go_fuzzer_v2 "github.com/awskms-offline/awskms-offline/$1" "$2" "$3"
}

target cmd/internal/cli FuzzArchive cli_archive
target cmd/internal/cli FuzzBatchLine cli_batchline
target cmd/internal/cli FuzzKeyFile cli_keyfile
target cmd/internal/cli FuzzSignatureFile cli_signaturefile
target cmd/internal/kmscert FuzzParse kmscert_parse
target cmd/internal/kmscert FuzzParseSubject kmscert_parsesubject
target cmd/internal/notationsigner FuzzRequest notationsigner_request
target internal/strictjson FuzzDecode strictjson_decode
target plugin/notation FuzzMain notation_main
target plugin/notation FuzzPublicKeyOf notation_publickeyof
target plugin/notation FuzzRequest notation_request
target plugin/sigstore FuzzDecodeCall sigstore_decodecall
target plugin/sigstore FuzzMain sigstore_main
target plugin/sigstore FuzzParseKeyReference sigstore_parsekeyreference
target plugin/sigstore FuzzPercentDecoded sigstore_percentdecoded
target verifier/audit FuzzChunker audit_chunker
target verifier/audit FuzzDecodeLine audit_decodeline
target verifier/audit FuzzParseHead audit_parsehead
target verifier/audit FuzzTail audit_tail
target verifier/audit FuzzTamper audit_tamper
target verifier/internal/rawagree FuzzParsePrivateKey rawagree_parseprivatekey
target verifier/internal/rawverify FuzzMLDSA rawverify_mldsa
target verifier/internal/rawverify FuzzRecovered rawverify_recovered
target verifier/internal/rawverify FuzzSignatureDER rawverify_signatureder
target verifier/internal/rawverify FuzzVerify rawverify_verify
target verifier/internal/spki FuzzSPKI spki_spki
target verifier/keystore FuzzDecodeAlias keystore_decodealias
target verifier/keystore FuzzDecodeBlock keystore_decodeblock
target verifier/keystore FuzzDecodeFile keystore_decodefile
target verifier/keystore FuzzEscapeAlias keystore_escapealias
target verifier/keystore FuzzParseMarker keystore_parsemarker
target verifier/keystore FuzzUnescapeAlias keystore_unescapealias
target verifier/kmskey FuzzDistinguishingID kmskey_distinguishingid
target verifier/kmskey FuzzParseARN kmskey_parsearn
target verifier/kmskey FuzzParseKey kmskey_parsekey
target verifier/kmskey FuzzParseRef kmskey_parseref
target verifier/kmskey FuzzRecordAsJSON kmskey_recordasjson
target verifier/kmskey FuzzTime kmskey_time
target verifier/policy FuzzParse policy_parse
target verifier/policy FuzzPattern policy_pattern
