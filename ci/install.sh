#!/bin/sh
# Installs programs of one release of awskms-offline, each checked against the release's checksums. For CI: action.yml and
# examples/ run it. It needs curl (or a folder with the release's files), tar, and sha256sum or shasum; on Windows unzip, in Git's bash.
#
#   AWSKMS_OFFLINE_VERSION           the release, such as 1.2.3
#   AWSKMS_OFFLINE_CHECKSUMS_SHA256  the SHA-256 that its checksums file must have. The checksums lie beside what they are of, so
#                                    by themselves they find damage only; this value, taken once by you, finds an exchange too.
#                                    Set and empty is an error: a variable of that name was forgotten
#   AWSKMS_OFFLINE_TOOLS             the programs, separated by spaces; all that verify unless set
#   AWSKMS_OFFLINE_BIN               the folder to put them into: one that this job alone writes, since it goes first on PATH. A folder of the
#                                    workspace may be kept or restored from a cache, with a notation or cosign in it that says yes
#   AWSKMS_OFFLINE_RELEASE           where the release's files are: an https URL or a folder, for those who have a mirror
#
# The programs for Notation are installed by `notation plugin install`, which must be on PATH; the others are put into the folder.
# f: no word of a variable is a pattern for files.
set -euf

fail() {
	echo "install.sh: $*" >&2
	exit 1
}

version=${AWSKMS_OFFLINE_VERSION:-}
version=${version#v}
case $version in
'') fail "AWSKMS_OFFLINE_VERSION is not set, expected a release such as 1.2.3" ;;
*[!0-9A-Za-z.+-]* | *..*) fail "AWSKMS_OFFLINE_VERSION is \"$version\", expected a release such as 1.2.3" ;;
esac
tools=${AWSKMS_OFFLINE_TOOLS:-awskms-offline notation-awskms-offline sigstore-kms-awskms-offline}
bin=${AWSKMS_OFFLINE_BIN:-}
[ -n "$bin" ] || fail "AWSKMS_OFFLINE_BIN is not set, expected a folder that this job alone writes, such as one that mktemp -d made"
release=${AWSKMS_OFFLINE_RELEASE:-https://github.com/awskms-offline/awskms-offline/releases/download/v$version}
checksums=checksums.txt
if [ -n "${AWSKMS_OFFLINE_CHECKSUMS_SHA256+set}" ] && [ -z "$AWSKMS_OFFLINE_CHECKSUMS_SHA256" ]; then
	fail "AWSKMS_OFFLINE_CHECKSUMS_SHA256 is empty, expected 64 hexadecimal digits; without it, unset, an exchanged release is not noticed"
fi

extension=tar.gz executable=
case $(uname -s) in
Linux) os=linux ;;
Darwin) os=darwin ;;
MINGW* | MSYS* | CYGWIN*) os=windows extension=zip executable=.exe ;;
*) fail "the system is $(uname -s); there are releases for Linux, Darwin and Windows" ;;
esac
case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) fail "the processor is $(uname -m); there are releases for x86_64 and arm64" ;;
esac

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

fetch() {
	case $release in
	# Neither a server that does not answer nor one that stops sending holds the build.
	https://*) curl --fail --silent --show-error --location --proto '=https' --retry 3 --connect-timeout 20 --speed-limit 1 --speed-time 60 --output "$temporary/$1" "$release/$1" ||
		fail "$release/$1 could not be downloaded; is there a release $version?" ;;
	*://*) fail "AWSKMS_OFFLINE_RELEASE is \"$release\", expected an https URL or a folder" ;;
	*) cp "$release/$1" "$temporary/$1" || fail "the folder $release has no $1" ;;
	esac
}

sha256() {
	if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}

fetch "$checksums"
if [ -n "${AWSKMS_OFFLINE_CHECKSUMS_SHA256:-}" ]; then
	found=$(sha256 "$temporary/$checksums")
	[ "$found" = "$AWSKMS_OFFLINE_CHECKSUMS_SHA256" ] ||
		fail "$checksums has SHA-256 $found, expected $AWSKMS_OFFLINE_CHECKSUMS_SHA256; nothing was installed"
fi

mkdir -p "$bin"
# An environment may have a variable of this name.
tool=
for tool in $tools; do
	case $tool in
	awskms-offline | notation-awskms-offline | notation-awskms-signer | sigstore-kms-awskms-offline) ;;
	*) fail "AWSKMS_OFFLINE_TOOLS names \"$tool\"; there are awskms-offline, notation-awskms-offline, notation-awskms-signer and sigstore-kms-awskms-offline" ;;
	esac
	archive=${tool}_${version}_${os}_${arch}.$extension
	expected=$(awk -v name="$archive" '$2 == name {print $1}' "$temporary/$checksums")
	[ -n "$expected" ] || fail "$checksums has no line for $archive"
	fetch "$archive"
	found=$(sha256 "$temporary/$archive")
	[ "$found" = "$expected" ] || fail "$archive has SHA-256 $found, expected $expected; it was not installed"
	case $tool in
	notation-*)
		command -v notation >/dev/null || fail "notation is not on PATH; install it before $tool, or leave $tool out of AWSKMS_OFFLINE_TOOLS"
		notation plugin install --force --sha256sum "$expected" --file "$temporary/$archive"
		;;
	*)
		if [ "$extension" = zip ]; then
			unzip -q -o "$temporary/$archive" "$tool$executable" -d "$temporary"
		else
			tar -xzf "$temporary/$archive" -C "$temporary" "$tool"
		fi
		mv -f "$temporary/$tool$executable" "$bin/$tool$executable"
		echo "Installed $bin/$tool$executable, version $version"
		;;
	esac
done
# Words of blanks alone pass the loop.
[ -n "$tool" ] || fail "AWSKMS_OFFLINE_TOOLS names no program"
