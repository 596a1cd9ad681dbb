/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the control socket: calls, the messages they come in, and the sockets below. */
#pragma once

#include "card.h"

/*
 * A method's handler. `params` passed the schema; defaults are not filled in; may be NULL. On
 * success 0 and *result a new reference (left NULL: true). On failure a negative errno with
 * e->text. CARD_RPC_LATER: c->task goes on with it. Control thread.
 */
#define CARD_RPC_LATER 1
typedef int (*card_call_fn)(
	struct card *c, const json_t *params, json_t **result, struct card_error *e);

/* How long a step of something long may take, when it can choose. */
#define CARD_SLICE_NS 4000000ull

/*
 * A call that takes too long to be made at once. Its steps are made between the control thread's
 * other events. A card has one at a time, in c->task, which who wants to begin another looks at;
 * one that only reads is begun in c->reading instead, at any time, and rpc.c takes it from there.
 */
struct card_task {
	/* The next step. CARD_RPC_LATER: there is more; else as a handler. */
	int (*step)(struct card_task *t, json_t **result, struct card_error *e);
	/* Free it; what was not done to its end is undone. */
	void (*destroy)(struct card_task *t);
	/*
	 * It came to a good end, and the store keeps the call: put what only the end has shown into
	 * the parameters. 0 or -ENOMEM. NULL: nothing.
	 */
	int (*keep)(struct card_task *t, json_t *params);
	unsigned nap_ms; // between steps that wait for somebody else
	/* Sleep until there may be something to do, or so long. For when no event loop runs. */
	void (*wait)(struct card_task *t, unsigned ms); // NULL: so long
	bool settles; // once it is kept there is more to do, to another 0, before it is answered
	bool kept; // that is now: rpc.c
	bool undoes; // destroy() undoes what came to a good end and could not be kept
	bool unkept; // that is so: rpc.c
};

/* Indexed by enum card_method_id: rpc_table.c. */
extern const card_call_fn card_calls[CARD_METHOD_COUNT];

#define X(name)               \
	int card_call_##name( \
		struct card *c, const json_t *params, json_t **result, struct card_error *e);
CARD_METHODS(X)
#undef X

enum card_run {
	CARD_RUN_KEEP, // an operator's call: kept in the store
	CARD_RUN_REPLAY, // from the store or the configuration file: not kept (again)
};

/*
 * Give a volume without a name the one that its creation will choose, and limits that are not given
 * the values that they have, so that the store has them. 0 or -ENOMEM. rpc_volume.c.
 */
int card_volume_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e);

/* Why a volume with a header could not be opened, in words. rpc_layer.c. */
const char *card_volume_why(int err);

/*
 * Put the wrapped form of a key, one that is made now or the one that is given, in the place of the
 * key itself. 0, -EINVAL, -ENOTSUP, -ENOMEM. rpc_key.c.
 */
int card_key_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e);

/*
 * Give a logical volume the name that the store will know it by; one that has it comes from there.
 * In a configuration file it is made from the names of card, store and volume, the same each time.
 * 0, -EINVAL, -EIO, -ENOMEM. rpc_lvol.c.
 */
int card_lvol_canon(struct card *c, const struct card_method *m, enum card_run run, json_t *params,
	struct card_error *e);

/* Delete or resize a logical volume: as handlers. rpc_lvol.c. */
int card_lvol_delete_begin(struct card *c, const char *name, struct card_error *e);
int card_lvol_resize_begin(struct card *c, const char *name, uint64_t size, struct card_error *e);

/* SPDK's words for how paths are used: 0, or -EINVAL with e->text. rpc_nvme_paths.c. */
int card_nvme_policy(
	const char *policy, const char *selector, enum vol_policy *out, struct card_error *e);

/*
 * Give a controller or discovery what bdev_nvme_set_options said and it does not say itself, and
 * name the path of a controller in one word, for the store. 0, -EINVAL, -ENOMEM. rpc_nvme.c. */
int card_nvme_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e);

/*
 * Rewrite the parameters of a flow or address into the one spelling that the store keeps, so that
 * an object has one name there. Other kinds are left alone. 0 or -EINVAL. rpc_switch.c.
 */
int card_switch_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e);

/* The same for what the target has: objects of SPDK's tools become parameters. rpc_nvmf.c. */
int card_nvmf_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e);

/* The same for what the underlay has, by card_switch_canon(). rpc_underlay.c. */
int card_underlay_canon(struct card *c, const struct card_method *m, json_t *params);

/* Give a function that is added to a VM its slot. 0, -ENODEV, -ENOMEM. rpc_vm.c. */
int card_vm_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e);

/* The same for a timeout of connection tracking, by card_switch_canon(). rpc_ct.c. */
int card_ct_canon(const struct card_method *m, json_t *params, struct card_error *e);

/*
 * True when what this call changes is kept by the object itself: a plain file has its size. Then
 * the store must not keep it too, because a file may grow while no daemon runs. rpc_volume.c.
 */
bool card_volume_keeps_itself(
	const struct card *c, const struct card_method *m, const json_t *params);

/*
 * True when this call on a volume is likely to take steps, since the volume is a file of a store or
 * has work of its own: then it waits for the call that does so now. What the schema says of the
 * parameters has not been looked at. rpc_volume.c.
 */
bool card_volume_queues(const struct card *c, const struct card_method *m, const json_t *params);

/* Ends what flow_top measures; the switch is there until then. rpc_top.c. */
void card_top_stop(struct card *c);

/* card_rpc_dispatch() with a say in what is kept. A task is run to its end. */
int card_rpc_run(struct card *c, const struct card_method *m, const json_t *params,
	enum card_run run, json_t **result, struct card_error *e);

#define CARD_RPC_BATCH_MAX 64

struct card_message; // a message with a call that is answered later

/*
 * Answer one message: a request object or a batch. Returns the answer as text (free() it), or NULL
 * when there is none to give (notifications) or no memory. *later: NULL, or the message, when one
 * of its calls takes steps: then there is no answer yet. later: NULL: make all steps now.
 */
char *card_rpc_answer(struct card *c, const char *msg, size_t len, struct card_message **later);
/*
 * One step of the call that the message waits for, and the calls behind it. True: there is more.
 * False: *text is the answer, as above.
 */
bool card_message_step(struct card_message *m, char **text);
/* Until its next step. */
unsigned card_message_nap_ms(const struct card_message *m);
/* Its task with it, which is then undone. NULL: nothing. */
void card_message_destroy(struct card_message *m);
/* An answer that is an error without a request id. */
char *card_rpc_error_text(int code, const char *text);

/* Find the end of each JSON value in a byte stream without parsing it: brackets outside strings. */
struct card_frame {
	unsigned depth;
	bool in_string, escaped, started;
};
enum card_frame_result { CARD_FRAME_MORE, CARD_FRAME_DONE, CARD_FRAME_BAD };
/*
 * Look at n more bytes; *used of them belong to this message (or stand before it as white space).
 * MORE: all used. DONE: the message ends there; the frame is ready for the next. BAD: the message
 * begins with neither '{' nor '['.
 */
enum card_frame_result card_frame_scan(
	struct card_frame *f, const char *bytes, size_t n, size_t *used);

struct card_rpc_stats {
	uint64_t accepted, accept_failed, refused_uid, refused_full, evicted, timeouts, oversize;
	uint64_t requests, errors, parse_errors, cancelled;
};
/* The socket's counters; zeros when it is not open. */
void card_rpc_stats(const struct card *c, struct card_rpc_stats *out);
/* Counted by rpc.c as it answers. */
void card_rpc_count(struct card *c, uint64_t requests, uint64_t errors, uint64_t parse_errors);

/* Why odp_key_parse() did not take a text: -EINVAL with e->text. rpc_switch.c. */
int card_flow_unread(const char *text, size_t at, struct card_error *e);

/* A flow as operators see it; new reference, NULL: no memory. rpc_switch.c. */
json_t *card_flow_json(struct odp *dp, const struct odp_flow_info *f);

/*
 * One object of counters per object of the card: rpc_stats.c. object, name: NULL for all. *out: new
 * reference. 0, -EINVAL (no such class), -ENODEV (nothing of that name), -ENOMEM.
 */
int card_stats_json(struct card *c, const char *object, const char *name, json_t **out);
/*
 * The same in parts: 0 or -ENOMEM; CARD_RPC_LATER when there is more after until_ns. object and
 * name are borrowed to its end, which may be before it is done.
 */
struct card_stats_work;
int card_stats_begin(
	struct card *c, const char *object, const char *name, struct card_stats_work **out);
int card_stats_step(struct card_stats_work *w, uint64_t until_ns, json_t **out);
void card_stats_end(struct card_stats_work *w);
/*
 * Latencies as parts of an object's counters: one for each class of which something was timed, in
 * buckets that grow by four. New reference. rpc_latency.c.
 */
json_t *card_latency_json(const struct dpu_hist_sum sum[DPU_LAT_CLASSES]);
/* The part of controllers, of one name or all; new reference. rpc_nvme.c. */
json_t *card_ctrl_stats_json(struct card *c, const char *name);
/* The parts of the target, and what its reasons mean; new references. rpc_nvmf_list.c. */
json_t *card_subsys_stats_json(struct card *c, const char *name);
json_t *card_target_stats_json(struct card *c);
json_t *card_target_reasons_json(void);
/* The parts of VMs and of their agent, and what its reasons mean; new references. rpc_vm.c. */
json_t *card_vm_stats_json(struct card *c, const char *name);
json_t *card_vm_agent_stats_json(struct card *c);
json_t *card_vm_reasons_json(void);
/* The part of connection tracking; new reference. rpc_ct.c. */
json_t *card_ct_stats_json(struct card *c);
/* The part of the underlay; new reference. rpc_underlay.c. */
json_t *card_underlay_stats_json(struct card *c);
