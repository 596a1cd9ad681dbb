#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest moves from one card to another before its memory does: NIC and disk work while pages are missing,
# no write is lost, and QEMU's figure for the downtime is printed.
# Usage: 27-postcopy.sh BUILD-DIR
set -eu
export MIGRATE=postcopy
exec "$(dirname "$0")/25-migrate.sh" "$@"
