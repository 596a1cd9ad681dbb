// SPDX-License-Identifier: Apache-2.0
/* The end of a target and of a host at any moment: nothing is left in any group. */
#include "nvmf_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 80U // from nothing to two live controllers, and some more

static bool target_empty(const struct nvmf_rig *r)
{
	bool empty = nof_group_empty(r->tc);

	for (unsigned i = 0; i < WORKERS; i++)
		empty = empty && nof_group_empty(r->tw[i]);
	return empty;
}

static bool host_empty(const struct nvmf_rig *r)
{
	bool empty = nof_group_empty(r->hc);

	for (unsigned i = 0; i < WORKERS; i++)
		empty = empty && nof_group_empty(r->hw[i]);
	return empty;
}

static void target_end(struct nvmf_rig *r)
{
	assert_int_equal(nof_tgt_destroy(r->t), 0);
	r->t = NULL;
	assert_true(target_empty(r));
}

static void begin(struct nvmf_rig *r, struct link *l)
{
	rig_listen(r, 1);
	for (unsigned i = 0; i < 2; i++) {
		struct nof_ctrl_conf conf = link_conf(r, i);

		conf.kato_ms = 100;
		conf.reconnect_delay_ms = 1;
		l[i] = (struct link){ 0 };
		assert_int_equal(nof_ctrl_create(r->h, &conf, link_up, &l[i], &l[i].c), 0);
	}
}

/* As a card does at its end: delete, then rounds until nothing is left. */
static void host_end(struct nvmf_rig *r, struct link *l)
{
	r->mute = !r->t;
	for (unsigned i = 0; i < 2; i++)
		nof_ctrl_delete(l[i].c, link_gone, &l[i]);
	POLL_UNTIL(r, l[0].gone && l[1].gone);
	POLL_UNTIL(r, host_empty(r));
}

static int silent = -1;

/* Hosts whose connection ends try again at once; and somebody comes who says nothing. */
static void others_come(struct nvmf_rig *r)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(r->port[0]),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	for (unsigned i = 0; i < WORKERS; i++) {
		nof_group_poll(r->hc);
		nof_group_poll(r->hw[i]);
	}
	if (silent < 0) {
		silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(silent >= 0);
		(void)connect(silent, (struct sockaddr *)&a, sizeof(a));
	}
}

/* The end of the target is none the later for those who come during it. */
static void others_come_meanwhile(void **state)
{
	struct nvmf_rig r;
	struct link l[2];

	(void)state;
	rig_open(&r, NULL);
	begin(&r, l);
	POLL_UNTIL(&r, l[0].told && l[1].told);
	r.meanwhile = others_come;
	target_end(&r);
	close(silent);
	host_end(&r, l);
	rig_close(&r);
}

/* After any number of rounds: in handshakes, between two threads, with messages on their way. */
static void target_at_any_moment(void **state)
{
	(void)state;
	for (unsigned n = 0; n < ROUNDS; n++) {
		struct nvmf_rig r;
		struct link l[2];

		rig_open(&r, NULL);
		begin(&r, l);
		for (unsigned i = 0; i < n; i++)
			(void)rig_poll(&r);
		target_end(&r);
		host_end(&r, l);
		rig_close(&r);
	}
}

/* The target's control thread alone has turns: its workers do not take what they are given. */
static void workers_do_not_look(void **state)
{
	(void)state;
	for (unsigned n = 0; n < ROUNDS; n++) {
		struct nvmf_rig r;
		struct link l[2];

		rig_open(&r, NULL);
		begin(&r, l);
		for (unsigned i = 0; i < n; i++) {
			r.mute = true;
			(void)rig_poll(&r);
			(void)nof_group_poll(r.tc);
		}
		target_end(&r);
		host_end(&r, l);
		rig_close(&r);
	}
}

static uint64_t katos(struct nvmf_rig *r)
{
	struct nof_tgt_stats s;

	nof_tgt_stats(r->t, &s);
	return s.kato;
}

/* Connections that a keep alive timeout ends, seen by none, one or all of the threads. */
static void keep_alive_timeout(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 6; n++) {
		struct nvmf_rig r;
		struct link l[2];

		rig_open(&r, NULL);
		begin(&r, l);
		POLL_UNTIL(&r,
			link_state(&l[0]) == NOF_CTRL_LIVE && link_state(&l[1]) == NOF_CTRL_LIVE);
		while (katos(&r) < 2) // the hosts say nothing
			(void)nof_group_poll(r.tc);
		for (unsigned i = 0; i < n; i++)
			(void)nof_group_poll(i % 2 ? r.tc : r.tw[i / 2 % WORKERS]);
		target_end(&r);
		host_end(&r, l);
		rig_close(&r);
	}
}

/* A host that ends while it connects, is live, is reset. */
static void host_at_any_moment(void **state)
{
	(void)state;
	for (unsigned n = 0; n < ROUNDS; n++) {
		struct nvmf_rig r;
		struct link l[2];

		rig_open(&r, NULL);
		begin(&r, l);
		for (unsigned i = 0; i < n; i++)
			(void)rig_poll(&r);
		nof_ctrl_reset(l[0].c);
		if (n % 2)
			(void)rig_poll(&r);
		host_end(&r, l);
		target_end(&r);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_come_meanwhile),
		cmocka_unit_test(target_at_any_moment),
		cmocka_unit_test(workers_do_not_look),
		cmocka_unit_test(keep_alive_timeout),
		cmocka_unit_test(host_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
