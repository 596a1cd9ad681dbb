/* SPDX-License-Identifier: Apache-2.0 */
/* Queue pairs of the initiator over NVMe/TCP (TCP transport 1.0). */
#pragma once

#include "qpair.h"

struct nof_tcp_conf {
	const char *traddr; // a numeric IPv4 or IPv6 address
	uint16_t trsvcid;
	const char *host_traddr; // to connect from; NULL: any
	uint16_t qid, depth;
	uint8_t dgst; // NOF_DGST_* to ask for
	uint8_t dgst_demanded; // that the controller must grant
	uint64_t timeout_ns; // of a command, 0: none
	uint64_t connect_timeout_ns; // until the transport is up, 0: none
	uint32_t capsule_max; // bytes of data in a capsule
	const struct nof_qpair_owner *owner;
	void *arg; // q->arg
};

/*
 * Begin to connect, in group g, on its thread: owner->up or owner->down follows. 0 with *out, which
 * nof_qpair_destroy() takes, or -EINVAL (not an address), -ENOMEM, or an errno of socket(2),
 * connect(2).
 */
int nof_tcp_connect(const struct nof_tcp_conf *conf, struct nof_group *g, struct nof_qpair **out);
/* The NUMA node of the device that a connection goes through, -1: not known. Control thread. */
int nof_tcp_node(struct nof_qpair *q);

/* For tests: a pair on a connected socket, which is closed in any case. */
int nof_tcp_on_socket(
	int fd, const struct nof_tcp_conf *conf, struct nof_group *g, struct nof_qpair **out);
