/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function of the card, over vhost-user: the front-end's side.
 *
 * There are two descriptions of the function here: what the guest's driver wants (vCPU threads
 * write it, under the lock) and what the card has been told (the main thread's). Whenever they
 * differ the next message is the one that brings them nearer, so a start, a reset, a ring that
 * changed its vector and a card that comes back with nothing in its memory are all the same work.
 * One message is out at a time, and the main thread never waits for its answer: no vCPU ever does
 * at all, for virtio lets a driver poll for what takes its time (resets).
 *
 * A card that goes, is silent for 5 s, or answers nonsense is dropped. The guest's requests stay in
 * their rings, and the next connection goes on with them: bases from the rings, what was in flight
 * from the region that the card made for it.
 *
 * Addresses are the guest's physical ones throughout ("user addresses" of the memory table too), so
 * the card learns nothing of ours.
 *
 * Spec: QEMU docs/interop/vhost-user.rst.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm.h"
#include "vu_proto.h"

#define HV_VHOST_RINGS_MAX 256
#define HV_VHOST_RING_SIZE 256 // entries at most
#define HV_VHOST_DOORBELL 4u // bytes from one to the next

struct hv_vhost_ring {
	/* What the driver wants: the lock. */
	bool enabled;
	bool resetting; // until the card let go of it
	uint16_t size;
	uint64_t desc, driver, device;
	int call_fd; // borrowed: an MSI-X vector's; -1: none

	bool kick; // the card is to look at it, whatever the driver rings

	/* What the card has: the main thread, but for `fresh` and kick_fd (the lock). */
	int kick_fd; // owned; -1: it had none yet
	bool fresh; // no card has seen it: it begins at its beginning
	bool crashed; // it ran as the card went
	unsigned step; // of enum step
	int call_sent;
	uint32_t base; // where it goes on
};

struct hv_vhost_events {
	/* Features, rings and configuration space are known, once. */
	void (*known)(void *arg);
	/* Configuration space is another than before, or a ring is broken. */
	void (*changed)(void *arg);
	/* The card is gone: a new descriptor is wanted. Later, after one that came to nothing. */
	void (*lost)(void *arg);
	/* Nothing of before is in use any more: v->resetting ends. The lock is held. */
	void (*reset)(void *arg);
	/* Raise a ring's interrupt. The lock is held. */
	void (*call)(void *arg, unsigned ring);
};

struct hv_vhost_conf {
	unsigned config_len; // bytes of configuration space, at most VU_CONFIG_MAX
	bool has_control; // the last ring is not in the card's number if CTRL_VQ is offered
	struct hv_vm *vm; // borrowed
	const struct hv_vhost_events *ev; // borrowed; called from hv_vhost_run()
	void *arg;
};

struct hv_vhost_counters {
	uint64_t connects, drops;
	uint64_t timeouts; // no answer
	uint64_t nonsense; // messages that are none, or answers to nothing
	uint64_t refusals; // of requests
	uint64_t unfit; // cards that cannot go on with what the driver has
};

struct hv_vhost_inflight {
	int fd; // owned; -1: none
	struct vu_inflight shape;
};

/* What a card has been told, as far as it said so. */
struct hv_vhost_told {
	bool features, inflight;
	uint64_t status;
	unsigned slots; // of memory; 0: none, so no ring runs
};

struct hv_vhost_rx {
	struct vu_header h;
	uint8_t payload[VU_PAYLOAD_MAX];
	unsigned have; // bytes of header and payload
	int fds[VU_FDS_MAX]; // owned
	unsigned n_fds;
};

struct hv_vhost {
	struct hv_vhost_conf conf;
	int epoll_fd; // owned: poll it for reading, and call hv_vhost_run() then
	int wake_fd, timer_fd, err_fd; // owned

	pthread_mutex_t lock; // for what follows
	uint64_t offered; // features, without the transport's
	unsigned n_rings;
	struct hv_vhost_ring rings[HV_VHOST_RINGS_MAX]; // n_rings
	uint8_t config[VU_CONFIG_MAX];
	unsigned dirty, dirty_end; // bytes of config that the driver wrote and the card has not
	uint64_t features; // the driver's
	bool run; // DRIVER_OK
	bool mastering;
	bool resetting; // until the card let go of everything
	bool broken; // until the driver resets it
	uint64_t doorbells; // where the guest has that of ring 0; 0: nowhere

	/* Main thread. */
	bool known;
	int fd, channel_fd; // owned; -1: none
	unsigned stage; // of enum stage
	uint64_t card_features; // as this card offers them, transport's too
	bool config_stale;
	struct hv_vhost_told told;
	unsigned ask_ms; // from a drop until lost(); 0 once a card has all that it needs
	bool waiting; // for the answer to `sent`
	uint32_t sent;
	int sent_ring; // that it is about; -1: none
	int sent_call; // the descriptor that a SET_VRING_CALL carried
	uint64_t sent_status; // what a SET_STATUS said
	unsigned sent_slots; // that a SET_MEM_TABLE had
	struct hv_vhost_rx rx, channel_rx;
	struct hv_vhost_inflight inflight;
	struct hv_vhost_counters counters;
};

/* 0, or an errno of eventfd(2) and its kin. Nothing is connected yet. */
int hv_vhost_init(struct hv_vhost *v, const struct hv_vhost_conf *conf);
void hv_vhost_fini(struct hv_vhost *v);

/*
 * Go on with the card at the other end of fd, which becomes ours on success: the first one, or one
 * that restarted. What was connected before is dropped. 0, or an errno of epoll_ctl(2).
 */
int hv_vhost_reconnect(struct hv_vhost *v, int fd);

/* Do what there is to do; never waits. Main thread. */
void hv_vhost_run(struct hv_vhost *v);

/* What the driver wants has changed. Any thread. */
void hv_vhost_wake(struct hv_vhost *v);

/* The guest has the doorbells there from now on. Not with the lock. */
void hv_vhost_place(struct hv_vhost *v, uint64_t doorbells);
/* Have the card look at a ring. The lock is held. Any thread. */
void hv_vhost_kick(struct hv_vhost *v, unsigned ring);

/* True if no card has an older table of memory than there is. Main thread. */
bool hv_vhost_knows_memory(const struct hv_vhost *v);

/* True if by the last hv_vhost_run() a card knew all that the driver wants. Main thread. */
bool hv_vhost_settled(const struct hv_vhost *v);
