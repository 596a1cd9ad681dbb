# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by the other files that tests source. Whoever does has fail().

skip()
{
	echo "SKIP: $*"
	exit 77
}

# wait_for WHAT COMMAND...: until the command succeeds, for 20 s; fails with what did not come true
wait_for()
{
	what=$1 tries=0
	shift
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || fail "$what"
		sleep 0.05
	done
}
