/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses and networks as text. Pure; any thread. */
#pragma once

#include "odp_underlay.h"

#define CARD_IP_TEXT 46
#define CARD_NET_TEXT (CARD_IP_TEXT + 4)

/* "192.0.2.1" or "2001:db8::1". 0, or -EINVAL and *out is as it was. */
int card_ip_parse(const char *text, struct odp_ip *out);
/* The shortest spelling (RFC 5952); an address without a family: "". */
void card_ip_format(const struct odp_ip *ip, char out[CARD_IP_TEXT]);

/* "192.0.2.1/24": the length must be there. 0, or -EINVAL and nothing is written. */
int card_net_parse(const char *text, struct odp_ip *ip, unsigned *prefix_len);
void card_net_format(const struct odp_ip *ip, unsigned prefix_len, char out[CARD_NET_TEXT]);
