// SPDX-License-Identifier: Apache-2.0
/*
 * Lines of FTP control connections. They come from anybody: a line is read once, from front to
 * back, and what is not exactly what the specification says is not there.
 */
#include "ct_ftp.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "dpu_cur.h"

/* The next byte, which stays; -1: none. */
static int peek(const struct dpu_cur *t)
{
	return t->left ? *t->at : -1;
}

static bool take(struct dpu_cur *t, int c)
{
	if (peek(t) != c)
		return false;
	dpu_cur_skip(t, 1);
	return true;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* Up to five digits, at most `max`. */
static bool number(struct dpu_cur *t, unsigned max, unsigned *out)
{
	unsigned n = 0;

	*out = 0;
	for (; n < 5 && is_digit(peek(t)); n++)
		*out = *out * 10 + dpu_cur_u8(t) - '0';
	return n > 0 && !is_digit(peek(t)) && *out <= max;
}

static bool word(struct dpu_cur *t, const char *w)
{
	size_t n = strlen(w);

	if (t->left < n || strncasecmp((const char *)t->at, w, n) != 0)
		return false;
	dpu_cur_skip(t, n);
	return true;
}

static bool at_end(const struct dpu_cur *t)
{
	struct dpu_cur rest = *t;

	(void)take(&rest, '\r');
	return take(&rest, '\n') && rest.left == 0;
}

/* h1,h2,h3,h4,p1,p2: RFC 959, section 4.1.2. */
static bool host_port(struct dpu_cur *t, struct ct_ftp_ask *out)
{
	unsigned v[6];

	for (unsigned i = 0; i < 6; i++)
		if ((i && !take(t, ',')) || !number(t, 255, &v[i]))
			return false;
	memset(out, 0, sizeof(*out));
	out->l3 = 4;
	for (unsigned i = 0; i < 4; i++)
		out->addr[i] = (uint8_t)v[i];
	out->port = (uint16_t)(v[4] << 8 | v[5]);
	return true;
}

/* Up to the delimiter, which is taken. */
static bool address(struct dpu_cur *t, int delimiter, unsigned family, struct ct_ftp_ask *out)
{
	char text[INET6_ADDRSTRLEN];
	size_t n = 0;

	while (peek(t) != delimiter) {
		if (peek(t) < 0 || n + 1 == sizeof(text))
			return false;
		text[n++] = (char)dpu_cur_u8(t);
	}
	text[n] = '\0';
	out->l3 = family == 1 ? 4 : 6;
	return memchr(text, 0, sizeof(text)) == text + n &&
	       inet_pton(family == 1 ? AF_INET : AF_INET6, text, out->addr) == 1 &&
	       take(t, delimiter);
}

/* The delimiter is any printable character that no number has: RFC 2428, section 2. */
static bool delimiter(struct dpu_cur *t, int *out)
{
	*out = peek(t);
	return *out >= 33 && *out <= 126 && !is_digit(*out) && take(t, *out);
}

/* |1|10.0.0.1|1024|: RFC 2428, section 2. */
static bool extended_port(struct dpu_cur *t, struct ct_ftp_ask *out)
{
	unsigned family, port;
	int d;

	memset(out, 0, sizeof(*out));
	if (!delimiter(t, &d) || !number(t, 2, &family) || family == 0 || !take(t, d) ||
		!address(t, d, family, out) || !number(t, 65535, &port) || !take(t, d))
		return false;
	out->port = (uint16_t)port;
	return true;
}

/* Some text, then (|||1024|): RFC 2428, section 3. */
static bool extended_passive(struct dpu_cur *t, struct ct_ftp_ask *out)
{
	unsigned port;
	int d;

	memset(out, 0, sizeof(*out));
	while (t->left && !take(t, '('))
		dpu_cur_skip(t, 1);
	if (!delimiter(t, &d) || !take(t, d) || !take(t, d) || !number(t, 65535, &port) ||
		!take(t, d) || !take(t, ')'))
		return false;
	out->port = (uint16_t)port;
	return true;
}

/* Some text, which may have brackets around the numbers: RFC 959, section 4.2. */
static bool passive(struct dpu_cur *t, struct ct_ftp_ask *out)
{
	while (t->left && !is_digit(peek(t)))
		dpu_cur_skip(t, 1);
	return host_port(t, out);
}

bool odp_ct_ftp_line(bool from_server, const uint8_t *line, size_t len, struct ct_ftp_ask *out)
{
	struct dpu_cur t = dpu_cur_init(line, len);

	if (len == 0 || line[len - 1] != '\n')
		return false;
	if (from_server)
		return word(&t, "227 ") ? passive(&t, out)
					: word(&t, "229 ") && extended_passive(&t, out);
	if (word(&t, "PORT "))
		return host_port(&t, out) && at_end(&t);
	return word(&t, "EPRT ") && extended_port(&t, out) && at_end(&t);
}
