/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of hv_proto.h on a socket: received whole with their descriptors, judged by a table, sent
 * without ever waiting. Main thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "hv_proto.h"

/* One more than the longest record, so that a longer one is seen as such. */
#define HV_RECORD_MAX (sizeof(struct hv_rec_create) + 1)

struct hv_record {
	uint8_t bytes[HV_RECORD_MAX];
	size_t len;
	int fd[HV_PROTO_FDS]; // owned; -1: none, or taken by somebody
	unsigned n_fds; // as they came
	bool more_fds; // some did not fit, and were closed
};

/* What a type of record has to be. */
struct hv_record_rule {
	size_t len; // 0: no such type
	uint8_t fds_min, fds_max;
};

/* A conversation: which number comes next. */
struct hv_talk {
	bool begun;
	uint32_t next;
};

/*
 * The next record of a socket. 1, 0 (the other side is gone), -EAGAIN, or the errno of recvmsg(2).
 * Its descriptors are closed by hv_record_close(), unless they are -1 by then.
 */
int hv_record_recv(int sock, struct hv_record *r);
void hv_record_close(struct hv_record *r);

/* The type of a record, or 0 when it is too short to have one. */
uint16_t hv_record_type(const struct hv_record *r);
uint32_t hv_record_seq(const struct hv_record *r);

/*
 * Judge the header, the length, the number of descriptors and the place in the conversation, by the
 * rule of its type. What is refused changes nothing, so that the sender may go on with the number
 * that was expected. HV_OK, or HV_E_LENGTH, _MAGIC, _VERSION, _TYPE, _FD_COUNT, _SEQUENCE.
 */
enum hv_status hv_record_judge(
	const struct hv_record *r, const struct hv_record_rule *rule, struct hv_talk *talk);

/*
 * What an HV_HELLO of the right length says, and the answer to it: HV_OK and *answer, whose header
 * is not yet one; or HV_E_VERSION, _FIELD.
 */
enum hv_status hv_record_hello(const struct hv_record *r, struct hv_rec_hello *answer);

/* The answer to a record that was obeyed, or not: it is logged then. Its header is not yet one. */
void hv_record_done(
	const struct hv_record *r, enum hv_status status, uint32_t detail, struct hv_rec_done *out);

/*
 * Put a header on a record of len bytes and send it; fd goes along and stays the caller's, -1:
 * none. 0, -EAGAIN (no room), or the errno of sendmsg(2).
 */
int hv_record_send(
	int sock, enum hv_type type, uint32_t seq, struct hv_rec_hdr *rec, size_t len, int fd);
