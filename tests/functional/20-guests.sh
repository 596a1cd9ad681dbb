#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo is the test: ping, TCP, disks over a reset, counters, a killed card.
# Usage: 20-guests.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
[ -n "$BUILD" ] || fail "no build folder: give it as argument or in BUILD"
command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
exec "$(dirname "$0")/../../card-firmware/emulator/demo"
