/* SPDX-License-Identifier: Apache-2.0 */
/* Where cardd and cardctl meet when nothing else is said: RUN/NAME.sock. */
#pragma once

#define CARD_RUN_DIR "/run/outboard" // RUN, for root and where XDG_RUNTIME_DIR is not set
#define CARD_RUN_SUBDIR "outboard" // RUN below XDG_RUNTIME_DIR otherwise
#define CARD_NAME_DEFAULT "card0"
#define CARD_RPC_SOCKET_ENV "OUTBOARD_SOCKET" // cardctl: the socket itself
