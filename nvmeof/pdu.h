/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP PDUs: what a receiver checks and a sender fills in. Pure: no I/O, no state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec.h"

enum nof_role { NOF_HOST, NOF_TARGET };

/* What is wrong with a PDU, as a TermReq tells it (TCP 3.6.2.4). */
struct nof_pdu_err {
	enum nof_fes fes;
	uint32_t fei;
};

/* What a receiver knows of its connection. */
struct nof_pdu_rules {
	enum nof_role role; // who receives
	uint16_t allowed; // bit n: PDUs of type n may come now
	uint8_t dgst; // NOF_DGST_*, as negotiated
	uint8_t pda; // alignment of data that this side asked for, of 4 bytes, 0's based
	uint32_t capsule_max; // bytes of data in a command capsule
	uint32_t data_max; // bytes of one H2CData PDU
};

/* Where the parts of a PDU are. */
struct nof_pdu_shape {
	uint8_t head_len; // with its digest
	uint8_t pad_len; // between the header and the data
	bool ddgst; // 4 bytes of digest follow the data
	uint32_t data_len;
};

/*
 * Check a common header: type, flags, HLEN, PDO and PLEN. 0 with *out filled in, or -EPROTO with
 * *e.
 * The sums cannot overflow, whatever PLEN says. TCP 3.6.1.
 */
int nof_pdu_check(const struct nof_ch *ch, const struct nof_pdu_rules *r, struct nof_pdu_shape *out,
	struct nof_pdu_err *e);

/* The digest after the first hlen bytes of a header is right. TCP 3.3.1.1. */
bool nof_pdu_hdgst_ok(const uint8_t *pdu, size_t hlen);

/*
 * ICReq at the target, ICResp at a host that asked for the digests `asked` and must have those of
 * `demanded`. 0, or -EPROTO with *e. TCP 3.6.2.2, 3.6.2.3.
 */
int nof_icreq_check(const struct nof_icreq *p, struct nof_pdu_err *e);
int nof_icresp_check(
	const struct nof_icresp *p, uint8_t asked, uint8_t demanded, struct nof_pdu_err *e);

/* Printable; never NULL. */
const char *nof_fes_name(uint16_t fes);

/*
 * Begin a PDU with data_len bytes of data: zero its header and fill in the common one. dgst: what
 * was negotiated; pda: the alignment that the receiver asked for. Returns how many bytes go out
 * before the data: header, digest, padding; NOF_PDU_HEAD_MAX at most.
 */
#define NOF_PDU_HEAD_MAX 256U
size_t nof_pdu_begin(
	uint8_t *pdu, enum nof_pdu_type type, uint8_t dgst, uint8_t pda, uint32_t data_len);
/* The header is complete: put its digest behind it when its flags say so. */
void nof_pdu_seal(uint8_t *pdu);

/*
 * A TermReq of this side about a PDU of which n bytes came (may be 0). out has room for
 * NOF_TERM_MAX bytes; returns how many are used.
 */
#define NOF_TERM_MAX (24U + NOF_TERM_DATA_MAX)
size_t nof_term_build(uint8_t *out, enum nof_role from, const struct nof_pdu_err *e,
	const uint8_t *pdu, size_t n);
