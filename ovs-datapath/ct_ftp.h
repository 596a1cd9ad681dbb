/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of an FTP control connection says of a data connection. RFC 959, 2428. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ct_ftp_ask {
	uint8_t l3; // 4, 6: `addr` is set; 0: the speaker's own address
	uint8_t addr[16];
	uint16_t port; // host order
};

/*
 * A whole line, with what ends it: of the client PORT or EPRT, of the server the answer to PASV
 * (227) or EPSV (229). False: it is none of these, or not as it should be. Pure; any thread.
 */
bool odp_ct_ftp_line(bool from_server, const uint8_t *line, size_t len, struct ct_ftp_ask *out);
