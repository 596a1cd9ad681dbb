/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in the syntax of "ovs-appctl dpctl". It comes from operators over a socket, so every read is
 * bounded; whatever fails leaves the place where it could not go on. Control thread.
 */
#pragma once

#include "key.h"

enum odp_field_type { FIELD_MAC, FIELD_IPV4, FIELD_IPV6, FIELD_DEC, FIELD_HEX, FIELD_FRAG };

/* A list of them ends with a NULL name. */
struct odp_field {
	const char *name;
	enum odp_field_type type;
	size_t off, size; // in the struct that it is of
	size_t set_off, set_size; // in the value of "set"; 0, 0: cannot be set
};

extern const char *const odp_frag_names[3];

/* An unsigned of at most four bytes in wire order. */
uint32_t odp_field_uint(const uint8_t *b, size_t n);
bool odp_is_all(const uint8_t *b, size_t n, uint8_t v);

/* ---- writing ---- */

struct odp_out {
	char *buf;
	size_t size, len; // len may pass size: then it did not fit
};

void odp_out_put(struct odp_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void odp_out_value(struct odp_out *o, enum odp_field_type type, const uint8_t *b, size_t n);
/* "field=value/mask", unless its mask is 0; *sep stands before it, and is "," behind it. */
void odp_out_field(struct odp_out *o, const struct odp_field *f, const void *key, const void *mask,
	const char **sep);
void odp_out_fields(
	struct odp_out *o, const struct odp_field *f, const void *key, const void *mask);
/* Has one of the fields a mask? */
bool odp_fields_any(const struct odp_field *f, const void *mask);
void odp_out_hex(struct odp_out *o, const uint8_t *b, size_t n);
/* "tunnel(..)" of what an action sets. */
void odp_out_tunnel(struct odp_out *o, const struct odp_key_tnl *tnl);
/* "{class=..,type=..,len=..,0x..}.." of Geneve options; what does not fit `len` is left out. */
void odp_out_options(struct odp_out *o, const uint8_t *key, const uint8_t *mask, size_t len);
/* "header(..)" of what an action puts on. */
void odp_out_push(struct odp_out *o, uint16_t type, const uint8_t *hdr, size_t len);
/* Length, or -ENOSPC. */
int odp_out_finish(const struct odp_out *o);

/* ---- reading ---- */

#define ODP_WORD_MAX 64u

struct odp_in {
	const char *text;
	size_t at;
};

/* Go on behind `s` when it stands here. */
bool odp_in_take(struct odp_in *in, const char *s);
void odp_in_space(struct odp_in *in);
/* The characters up to one of `stop` or the end. False: none, or too many. */
bool odp_in_word(struct odp_in *in, const char *stop, char out[ODP_WORD_MAX]);
/* "value[/mask]" up to ',' or ')'. */
bool odp_in_field(struct odp_in *in, const struct odp_field *f, void *key, void *mask);
/* "name=value[/mask]" of one of the fields. */
bool odp_in_named(struct odp_in *in, const struct odp_field *fields, void *key, void *mask);
/* What follows "name(": fields up to the bracket that closes. */
bool odp_in_fields(struct odp_in *in, const struct odp_field *fields, void *key, void *mask);
/* "value[/mask])" in host order; with `dp` a port, by number or name. */
bool odp_in_uint(struct odp_in *in, struct odp *dp, uint32_t *value, uint32_t *mask);

/* What a hexadecimal digit stands for; -1: it is none. */
int odp_digit(char c);
/* Pairs of hexadecimal digits up to something else; bytes are counted, `max` of them written. */
size_t odp_in_hex(struct odp_in *in, uint8_t *out, size_t max);
/* Geneve options up to the bracket that closes, behind those of `key`. */
bool odp_in_options(struct odp_in *in, struct odp_key_tnl *key, struct odp_key_tnl *mask);
/* "header(..)"; hdr has room for ODP_TNL_HDR_MAX bytes. */
bool odp_in_push(struct odp_in *in, uint16_t *type, uint8_t *hdr, size_t *len);

/* What follows "tunnel(", with the bracket that closes; there has to be an address in it. */
bool odp_in_tunnel(struct odp_in *in, struct odp_key_tnl *out);

/* Words. */
bool odp_uint_of(const char *w, uint32_t max, uint32_t *out);
bool odp_value_of(const struct odp_field *f, const char *w, uint8_t *out);
bool odp_port_of(struct odp *dp, const char *w, uint32_t *out);
