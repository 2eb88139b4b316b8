#!/bin/sh
# Verifies container images with notation and cosign, and fails if any of them refuses any image.
#
#   verify-image.sh IMAGE@sha256:DIGEST…
#
#   VERIFIERS       notation, cosign or both, separated by spaces; both unless set
#   COSIGN_KEY      the key for cosign, such as awskms-offline:///alias/release-signing; nothing but awskms-offline:// is taken. For
#                   notation its trust policy says which
#   RESULTS         the folder for results.json and junit.xml; ./awskms-offline-results unless set
#   NOTATION_CONFINED  yes or no: whether notation may start nothing but this project's plugin, for which awskms-offline has to be on
#                   PATH; yes on Linux unless set, no elsewhere. Without it a signature can have any file run (docs/notation.md)
#   NOTATION_HELPERS  credential helpers that it may start as well, by absolute paths, separated by spaces
#   NOTATION_FLAGS  further flags of `notation verify`, separated by spaces
#   COSIGN_FLAGS    the same for `cosign verify`
#
# Exit code 0: every image was verified by every verifier. 1: one was refused. 2: the call was wrong, or RESULTS cannot be written. An image that Notation's trust policy
# lets through unverified (level skip), or although a check failed (level permissive or audit, or an override), counts as refused.
# f: no word of a variable is a pattern for files.
set -euf

usage() {
	echo "verify-image.sh: $*" >&2
	exit 2
}

verifiers=${VERIFIERS:-notation cosign}
results=${RESULTS:-awskms-offline-results}
# What an earlier run found must not be taken for what this one did, however it ends.
rm -f "$results/results.json" "$results/junit.xml" || usage "RESULTS is \"$results\", where an earlier run's results cannot be removed"
# An environment may have a variable of this name.
verifier=
for verifier in $verifiers; do
	case $verifier in
	notation)
		confined=${NOTATION_CONFINED:-}
		[ -n "$confined" ] || case $(uname -s) in Linux) confined=yes ;; *) confined=no ;; esac
		case $confined in
		yes)
			command -v awskms-offline >/dev/null || usage "awskms-offline is not on PATH, and notation is to be run by it: install it, or set NOTATION_CONFINED=no"
			notation='awskms-offline notation'
			for helper in ${NOTATION_HELPERS:-}; do notation="$notation --allow-program $helper"; done
			;;
		no) notation=notation ;;
		*) usage "NOTATION_CONFINED is \"$confined\", expected yes or no" ;;
		esac
		;;
	cosign)
		case ${COSIGN_KEY:-} in
		awskms-offline://?*) ;;
		'') usage "COSIGN_KEY is not set, expected awskms-offline:// and a key" ;;
		# A file, an address or a variable is as trustworthy as who can write it, and no record says what the key may do.
		*) usage "COSIGN_KEY is \"$COSIGN_KEY\", expected awskms-offline:// and a key" ;;
		esac
		;;
	*) usage "VERIFIERS names \"$verifier\", expected notation or cosign" ;;
	esac
	command -v "$verifier" >/dev/null || usage "$verifier is not on PATH"
done
# Words of blanks alone would pass the loop above, and the ones below, without asking anybody.
[ -n "$verifier" ] || usage "VERIFIERS names no verifier"
[ $# -gt 0 ] || usage "no image was named"
for image in "$@"; do
	# What a tag means can change between this check and the image's use.
	case $image in
	-* | *[!0-9A-Za-z.:/@_-]*) usage "\"$image\" is no image" ;;
	*?@sha256:*[!0-9a-f]*) usage "$image does not name its digest, expected NAME@sha256: and 64 hexadecimal digits" ;;
	*?@sha256:????????????????????????????????????????????????????????????????) ;;
	*) usage "$image does not name its digest, expected NAME@sha256: and 64 hexadecimal digits" ;;
	esac
done

# Messages are kept as printable ASCII: nothing then has to be escaped that a shell cannot.
clean() { LC_ALL=C tr '\t' ' ' | LC_ALL=C tr -d '\000-\011\013-\037\177' | LC_ALL=C tr '\200-\377' '?'; }
json() { clean | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' | awk 'NR > 1 {printf "\\n"} {printf "%s", $0}'; }
xml() { clean | sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'; }

# cosign takes every flag from the environment too. These let it skip the question whether a signature is of this image, or look
# elsewhere for image, signature and payload.
unset COSIGN_CHECK_CLAIMS COSIGN_LOCAL_IMAGE COSIGN_ATTACHMENT COSIGN_SIGNATURE COSIGN_PAYLOAD

# says asks whether the client's output has a line that is all of this pattern.
says() { printf '%s\n' "$output" | LC_ALL=C grep -q -x -e "$1"; }

mkdir -p "$results" || usage "RESULTS is \"$results\", and this folder cannot be made"
for file in results.json junit.xml; do
	(: >"$results/$file") || usage "RESULTS is \"$results\", and $file cannot be written there"
	rm -f "$results/$file"
done
tests=0 refused=0 rows='' cases=''
for image in "$@"; do
	digest=${image##*@}
	for verifier in $verifiers; do
		code=0 why=
		# The flags are split into words on purpose.
		# shellcheck disable=SC2086
		case $verifier in
		notation)
			output=$($notation verify -v ${NOTATION_FLAGS:-} "$image" 2>&1) || code=$?
			# Where its trust policy does not enforce a check, notation ends with 0 though nothing was verified, or by no key that is
			# trusted, or by one that is disabled. Among the flags may be another image, or --help. A signature's own metadata is
			# printed after the line that counts.
			if [ "$code" -eq 0 ]; then
				case $output in
				*'Warning: '*' was set to "log" and failed'*) why='the trust policy does not enforce a check that failed: use level strict' ;;
				*)
					case $(printf '%s\n' "$output" | LC_ALL=C sed -n '/^Successfully verified signature for /{p;q;}') in
					*"@$digest") ;;
					'') why='notation does not say that it verified a signature: the trust policy skips it, or this notation is newer than the script' ;;
					*) why="notation verified another image than $image: look at NOTATION_FLAGS" ;;
					esac
					;;
				esac
			fi
			;;
		cosign)
			# Of a flag that is given twice the last counts: what decides comes after COSIGN_FLAGS, and the first of it is one whose
			# loss, as the value of a flag without one, lets nothing pass.
			output=$(cosign verify ${COSIGN_FLAGS:-} --insecure-ignore-tlog --check-claims=true --local-image=false --key "$COSIGN_KEY" "$image" 2>&1) || code=$?
			if [ "$code" -eq 0 ]; then
				if ! says "Verification for [^ ]*@$digest --"; then
					why="cosign does not say that it verified $image: look at COSIGN_FLAGS, or this cosign is newer than the script"
				elif ! says '  - The cosign claims were validated'; then
					why='cosign does not say that the signature is of this image'
				elif ! says '  - The signatures were verified against the specified public key'; then
					why='cosign does not say that it verified with the key of COSIGN_KEY'
				fi
			fi
			;;
		esac
		[ -z "$why" ] || code=1 output="$output
verify-image.sh: $why"
		tests=$((tests + 1))
		if [ "$code" -eq 0 ]; then
			verified=true verdict=verified failure=
		else
			refused=$((refused + 1))
			verified=false verdict=REFUSED failure="<failure message=\"$verifier refused it with exit code $code\">$(printf '%s\n' "$output" | xml)</failure>"
			printf '%s\n' "$output" >&2
		fi
		echo "$verdict by $verifier: $image"
		rows="$rows${rows:+,}
{\"image\":\"$(printf '%s\n' "$image" | json)\",\"verifier\":\"$verifier\",\"verified\":$verified,\"exitCode\":$code,\"output\":\"$(printf '%s\n' "$output" | json)\"}"
		cases="$cases<testcase classname=\"$verifier\" name=\"$(printf '%s\n' "$image" | xml)\">$failure</testcase>
"
	done
done
unwritten=
printf '[%s\n]\n' "$rows" >"$results/results.json" || unwritten=results.json
printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n<testsuite name="awskms-offline" tests="%d" failures="%d" errors="0">\n%s</testsuite>\n</testsuites>\n' \
	"$tests" "$refused" "$cases" >"$results/junit.xml" || unwritten=junit.xml
[ "$refused" -eq 0 ] || exit 1
[ -z "$unwritten" ] || usage "RESULTS is \"$results\", and $unwritten cannot be written there"
