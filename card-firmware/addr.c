// SPDX-License-Identifier: Apache-2.0
/* IP addresses and networks as text. */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int card_ip_parse(const char *text, struct odp_ip *out)
{
	struct odp_ip ip = { .family = strchr(text, ':') ? 6 : 4 };

	if (inet_pton(ip.family == 6 ? AF_INET6 : AF_INET, text, ip.a) != 1)
		return -EINVAL;
	*out = ip;
	return 0;
}

void card_ip_format(const struct odp_ip *ip, char out[CARD_IP_TEXT])
{
	out[0] = '\0';
	if (ip->family)
		inet_ntop(ip->family == 6 ? AF_INET6 : AF_INET, ip->a, out, CARD_IP_TEXT);
}

int card_net_parse(const char *text, struct odp_ip *ip, unsigned *prefix_len)
{
	const char *slash = strchr(text, '/');
	char address[CARD_IP_TEXT];
	unsigned len = 0;
	struct odp_ip parsed;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (card_ip_parse(address, &parsed) || !slash[1] || strlen(slash + 1) > 3)
		return -EINVAL;
	for (const char *p = slash + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		len = 10 * len + (unsigned)(*p - '0');
	}
	if (len > (parsed.family == 6 ? 128u : 32u))
		return -EINVAL;
	*ip = parsed;
	*prefix_len = len;
	return 0;
}

void card_net_format(const struct odp_ip *ip, unsigned prefix_len, char out[CARD_NET_TEXT])
{
	card_ip_format(ip, out);
	snprintf(out + strlen(out), 5, "/%u", prefix_len & 0xffu);
}
