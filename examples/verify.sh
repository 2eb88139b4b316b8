#!/bin/sh
# Verifies images with notation and cosign before anything uses them, in any CI with a shell: verify.sh IMAGE@sha256:DIGEST…
# notation, cosign (2.6.5, or 3.1.3 or newer) and curl are on PATH; ci/install.sh and ci/verify-image.sh of this project's release lie in ci/ of yours. The files
# below trust/ are yours: keys.tar is what `awskms-offline keys export` wrote and its SHA-256 what it printed.
set -eu
: "${AWSKMS_OFFLINE_VERSION:=0.1.0}"
# Of the release's checksums file, and of trust/keys.tar. Take both from people, not from where the files are.
: "${AWSKMS_OFFLINE_CHECKSUMS_SHA256:?is not set}"
: "${KEYS_SHA256:?is not set}"
: "${COSIGN_KEY:=awskms-offline:///alias/release-signing}"
: "${RESULTS:=results}"
# New ones for each run: what another run trusted on this machine is not trusted by this one, and of what it left nothing is run.
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
AWSKMS_OFFLINE_BIN=$temporary/bin
PATH=$AWSKMS_OFFLINE_BIN:$PATH
AWSKMS_OFFLINE_HOME=$temporary/keys
NOTATION_CONFIG=$temporary/notation
unset NOTATION_LIBEXEC
export AWSKMS_OFFLINE_VERSION AWSKMS_OFFLINE_CHECKSUMS_SHA256 AWSKMS_OFFLINE_BIN AWSKMS_OFFLINE_HOME NOTATION_CONFIG COSIGN_KEY RESULTS PATH

sh ci/install.sh
awskms-offline keys import --expect-sha256 "$KEYS_SHA256" trust/keys.tar
install -m 600 trust/policy.json "$AWSKMS_OFFLINE_HOME/policy.json"
notation cert add --type ca --store awskms trust/release.crt
notation policy import --force trust/trustpolicy.json
awskms-offline doctor
sh ci/verify-image.sh "$@"
