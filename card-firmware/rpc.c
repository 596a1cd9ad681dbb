// SPDX-License-Identifier: Apache-2.0
/* JSON-RPC 2.0: from a message to calls, from their results to the answer. Knows no socket. */
#include "rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "rpc_schema.h"
#include "rpc_write.h"
#include "store.h"

/* A call as the store sees it. */
struct kept {
	json_t *params; // owned
	bool unreadable; // names an object that only the store knows: the card has none like it
};

/*
 * The parameters that the store keeps: without those that act only once, and spelled in one way.
 * What cannot be read any more (a flow of a port that is gone) can still be deleted, by the text
 * that is stored.
 */
static int kept_init(struct card *c, const struct card_method *m, const json_t *params,
	enum card_run run, struct kept *out, struct card_error *e)
{
	json_t *kept = params ? json_deep_copy(params) : json_object();
	int ret;

	if (!kept)
		return card_fail(e, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < m->n_params; i++)
		if (m->params[i].once)
			json_object_del(kept, m->params[i].name);
	ret = card_volume_canon(c, m, kept, e);
	if (!ret)
		ret = card_key_canon(c, m, kept, e);
	if (!ret)
		ret = card_lvol_canon(c, m, run, kept, e);
	if (!ret)
		ret = card_nvme_canon(c, m, kept, e);
	if (!ret)
		ret = card_switch_canon(c, m, kept, e);
	if (!ret && !strncmp(m->name, "nvmf_", 5))
		ret = card_nvmf_canon(c, m, kept, e);
	if (!ret)
		ret = card_vm_canon(c, m, kept, e);
	*out = (struct kept){ .params = kept };
	if (!ret)
		return 0;
	out->unreadable = m->keep == CARD_KEEP_DELETE && card_store_is_degraded(c, m, kept);
	if (out->unreadable)
		return 0;
	json_decref(kept);
	return ret;
}

static int make_call(struct card *c, const struct card_method *m, const json_t *params,
	const struct kept *kept, json_t **result, struct card_error *e)
{
	int ret;

	if (kept->unreadable)
		return 0;
	ret = card_calls[m - card_method_at(0)](c, m->canonical ? kept->params : params, result, e);
	if ((ret == -ENODEV || ret == -ENOENT) && m->keep == CARD_KEEP_DELETE &&
		card_store_is_degraded(c, m, kept->params))
		return 0; // it exists in the store only
	return ret;
}

/* A durable call: staged on disk, done, committed. */
static int run_kept(struct card *c, const struct card_method *m, const json_t *params,
	json_t **result, struct card_error *e)
{
	struct kept kept = { 0 };
	int ret = kept_init(c, m, params, CARD_RUN_KEEP, &kept, e);

	if (ret)
		return ret;
	ret = card_store_stage(c, m, kept.params, e);
	if (ret)
		goto out;
	ret = make_call(c, m, params, &kept, result, e);
	if (ret) { // also when it takes steps: keep_late() begins anew
		card_store_abort(c);
		goto out;
	}
	ret = card_store_commit(c, m, kept.params);
	if (ret)
		card_fail(e, ret, "%s: done, but not kept over a restart: %s", m->name,
			strerror(-ret));
out:
	json_decref(kept.params);
	return ret;
}

/* Not kept, but made as if: of a configuration file. */
static int run_canonical(struct card *c, const struct card_method *m, const json_t *params,
	json_t **result, struct card_error *e)
{
	struct kept kept = { 0 };
	int ret = kept_init(c, m, params, CARD_RUN_REPLAY, &kept, e);

	if (ret)
		return ret;
	ret = make_call(c, m, params, &kept, result, e);
	json_decref(kept.params);
	return ret;
}

/* A call that took steps has come to a good end: kept now, as it came out. */
static int keep_late(struct card *c, struct card_task *t, const struct card_method *m,
	const json_t *params, struct card_error *e)
{
	struct kept kept = { 0 };
	int ret = kept_init(c, m, params, CARD_RUN_KEEP, &kept, e);

	if (ret) {
		t->unkept = true;
		return ret;
	}
	ret = t->keep ? t->keep(t, kept.params) : 0;
	if (!ret)
		ret = card_store_stage(c, m, kept.params, e);
	if (!ret)
		ret = card_store_commit(c, m, kept.params);
	t->unkept = ret != 0;
	if (ret)
		card_fail(e, ret, "%s: %s: %s", m->name,
			t->undoes ? "undone, as it could not be kept"
				  : "done, but not kept over a restart",
			strerror(-ret));
	json_decref(kept.params);
	return ret;
}

/* What it came to, once it has come to its end. */
static int call_end(const struct card_method *m, int ret, json_t **result, struct card_error *e)
{
	if (!ret)
		return 0;
	json_decref(*result);
	*result = NULL;
	if (!e->text[0])
		card_fail(e, ret, "%s: %s", m->name, strerror(-ret));
	card_error_clean(e);
	return ret;
}

/* As card_rpc_run(), or CARD_RPC_LATER. */
static int call_begin(struct card *c, const struct card_method *m, const json_t *params,
	enum card_run run, json_t **result, struct card_error *e)
{
	int ret;

	*result = NULL;
	e->text[0] = '\0';
	if (c->stopping)
		return card_fail(e, CARD_RPC_BUSY, "the card is shutting down");
	ret = card_schema_check(m, params, e);
	if (ret)
		return ret;
	if (run == CARD_RUN_KEEP && m->keep != CARD_KEEP_NONE &&
		!card_volume_keeps_itself(c, m, params))
		ret = run_kept(c, m, params, result, e);
	else if (m->canonical)
		ret = run_canonical(c, m, params, result, e);
	else
		ret = card_calls[m - card_method_at(0)](c, params, result, e);
	return ret == CARD_RPC_LATER ? ret : call_end(m, ret, result, e);
}

/* The task of a call that has just said CARD_RPC_LATER. */
static struct card_task *task_of(struct card *c)
{
	struct card_task *t = c->reading ? c->reading : c->task;

	c->reading = NULL;
	return t;
}

static void task_end(struct card *c, struct card_task *t)
{
	if (c->task == t)
		c->task = NULL;
	t->destroy(t);
}

/* The call that the task makes goes on: as call_begin(). */
static int call_step(struct card *c, struct card_task *t, const struct card_method *m,
	const json_t *params, enum card_run run, json_t **result, struct card_error *e)
{
	int ret = c->stopping ? card_fail(e, CARD_RPC_BUSY, "the card is shutting down")
			      : t->step(t, result, e);

	if (ret == CARD_RPC_LATER)
		return ret;
	if (!ret && !t->kept && run == CARD_RUN_KEEP && m->keep != CARD_KEEP_NONE &&
		!card_volume_keeps_itself(c, m, params))
		ret = keep_late(c, t, m, params, e);
	if (!ret && !t->kept && t->settles) {
		t->kept = true;
		return CARD_RPC_LATER;
	}
	task_end(c, t);
	return call_end(m, ret, result, e);
}

int card_rpc_run(struct card *c, const struct card_method *m, const json_t *params,
	enum card_run run, json_t **result, struct card_error *e)
{
	int ret = call_begin(c, m, params, run, result, e);
	struct card_task *t = ret == CARD_RPC_LATER ? task_of(c) : NULL;

	while (ret == CARD_RPC_LATER) {
		if (t->wait)
			t->wait(t, t->nap_ms);
		else if (t->nap_ms)
			usleep(t->nap_ms * 1000);
		ret = call_step(c, t, m, params, run, result, e);
	}
	return ret;
}

int card_rpc_dispatch(struct card *c, const char *method, const json_t *params, json_t **result,
	struct card_error *e)
{
	const struct card_method *m = card_method_find(method);

	*result = NULL;
	if (!m)
		return card_fail(e, CARD_RPC_METHOD, "%.64s: no such method", method);
	return card_rpc_run(c, m, params, CARD_RUN_KEEP, result, e);
}

/* ---- messages ---- */

/* Takes `id` and `data`, both may be NULL. */
static json_t *error_object(json_t *id, int code, const char *text, json_t *data)
{
	json_t *err = json_pack("{s:i, s:s}", "code", code, "message", text);

	if (err && data)
		json_object_set(err, "data", data);
	json_decref(data);
	return json_pack("{s:s, s:o, s:o}", "jsonrpc", "2.0", "id", id ? id : json_null(), "error",
		err ? err : json_null());
}

/* What a program can act on; the message is for people. */
static json_t *error_data(int ret, const char *method)
{
	const char *name = ret > -4096 ? strerrorname_np(-ret) : NULL;

	return json_pack("{s:s, s:s*}", "method", method, "errno", name);
}

static bool known_members(const json_t *req, struct card_error *e)
{
	static const char *const known[] = { "jsonrpc", "method", "params", "id" };
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)req, key, v) {
		bool found = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found = found || !strcmp(key, known[i]);
		if (!found) {
			card_fail(e, CARD_RPC_REQUEST, "%.64s: not part of a request", key);
			return false;
		}
	}
	return true;
}

/* 0, or CARD_RPC_REQUEST with e->text. */
static int check_request(const json_t *req, struct card_error *e)
{
	const json_t *id = json_object_get(req, "id");
	const char *version = json_string_value(json_object_get(req, "jsonrpc"));

	if (!json_is_object(req))
		return card_fail(e, CARD_RPC_REQUEST, "a request is an object");
	if (!version || strcmp(version, "2.0") != 0)
		return card_fail(e, CARD_RPC_REQUEST, "jsonrpc: must be \"2.0\"");
	if (!json_is_string(json_object_get(req, "method")))
		return card_fail(e, CARD_RPC_REQUEST, "method: must be a string");
	if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return card_fail(e, CARD_RPC_REQUEST, "id: must be a string, a number or null");
	return known_members(req, e) ? 0 : CARD_RPC_REQUEST;
}

/* New reference, or NULL for a notification. Takes `result`. */
static json_t *answer_object(
	struct card *c, const json_t *req, int ret, json_t *result, const struct card_error *e)
{
	const char *method = json_string_value(json_object_get(req, "method"));
	json_t *id = json_object_get(req, "id");

	card_rpc_count(c, 1, ret != 0, 0);
	if (ret)
		dpu_debug("rpc: call failed", "method=%.64s code=%d reason=\"%s\"", method, ret,
			e->text);
	if (!id) {
		json_decref(result);
		return NULL;
	}
	json_incref(id);
	if (ret)
		return error_object(id, ret, e->text, error_data(ret, method));
	return json_pack("{s:s, s:o, s:o}", "jsonrpc", "2.0", "id", id, "result",
		result ? result : json_true());
}

static json_t *refusal(struct card *c, const json_t *req, int ret, const struct card_error *e)
{
	json_t *id = json_object_get(req, "id");

	card_rpc_count(c, 1, 1, 0);
	if (!json_is_string(id) && !json_is_number(id))
		id = NULL;
	return error_object(json_incref(id), ret, e->text, NULL);
}

struct card_message {
	struct card *card; // borrowed
	json_t *req; // owned: a request or a batch
	struct card_writer out; // the answers that there are
	size_t n_answers;
	size_t at; // request of the batch
	const struct card_method *waits; // for its task, which makes this call; NULL: it does not
	struct card_task *task; // owned: that one
	bool writing; // an answer, which is not all in `out` yet
	bool at_once; // nobody else wants the thread
};

static const json_t *request_at(const struct card_message *m, size_t idx)
{
	if (json_is_array(m->req))
		return json_array_get(m->req, idx);
	return idx ? NULL : m->req;
}

/* The request of which it is the turn. CARD_RPC_LATER, or 0 and *answer: as answer_object(). */
static int answer_one(struct card_message *m, const json_t *req, json_t **answer)
{
	const char *method = json_string_value(json_object_get(req, "method"));
	struct card_error e = { "" };
	json_t *result = NULL;
	int ret;

	if (m->waits) {
		ret = call_step(m->card, m->task, m->waits, json_object_get(req, "params"),
			CARD_RUN_KEEP, &result, &e);
	} else {
		ret = check_request(req, &e);
		if (ret) {
			*answer = refusal(m->card, req, ret, &e);
			return 0;
		}
		m->waits = card_method_find(method);
		if (m->waits && m->card->task &&
			(m->waits->queues || card_volume_queues(m->card, m->waits,
						     json_object_get(req, "params")))) {
			m->waits = NULL; // not begun
			return CARD_RPC_LATER;
		}
		ret = m->waits ? call_begin(m->card, m->waits, json_object_get(req, "params"),
					 CARD_RUN_KEEP, &result, &e)
			       : card_fail(&e, CARD_RPC_METHOD, "%.64s: no such method", method);
	}
	if (ret == CARD_RPC_LATER) {
		m->task = m->task ? m->task : task_of(m->card);
		return ret;
	}
	m->waits = NULL;
	m->task = NULL;
	*answer = answer_object(m->card, req, ret, result, &e);
	return 0;
}

static char *to_text(json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

	json_decref(answer);
	return text;
}

/* Takes it. */
static void write_begin(struct card_message *m, json_t *answer)
{
	if (json_is_array(m->req))
		card_writer_raw(&m->out, m->n_answers ? "," : "[", 1);
	m->n_answers++;
	card_writer_begin(&m->out, answer);
}

/*
 * One long answer at a time is made: those of all clients in turn would be one long step together.
 * True: it is this message's turn, or it has none to make.
 */
static bool has_turn(struct card_message *m)
{
	struct card *c = m->card;
	bool is_long = m->writing || (m->task && m->task != c->task);

	if (!is_long && c->reader == m)
		c->reader = NULL;
	if (!is_long || m->at_once)
		return true;
	if (!c->reader)
		c->reader = m;
	return c->reader == m;
}

bool card_message_step(struct card_message *m, char **text)
{
	uint64_t until_ns = m->at_once ? UINT64_MAX : dpu_now_ns() + CARD_SLICE_NS;
	const json_t *req;
	json_t *one;

	*text = NULL;
	for (;;) {
		if (!has_turn(m))
			return true;
		if (m->writing)
			m->writing = card_writer_step(&m->out, until_ns);
		if (m->writing)
			return true;
		req = request_at(m, m->at);
		if (!req)
			break;
		if (answer_one(m, req, &one) == CARD_RPC_LATER)
			return true;
		m->at++;
		if (!one)
			continue;
		write_begin(m, one);
		m->writing = card_writer_step(&m->out, until_ns); // a short one waits for no turn
		if (m->writing)
			return true;
	}
	if (m->n_answers) {
		if (json_is_array(m->req))
			card_writer_raw(&m->out, "]", 1);
		*text = card_writer_take(&m->out);
	}
	return false;
}

unsigned card_message_nap_ms(const struct card_message *m)
{
	const struct card_task *t = m->task || m->writing ? m->task : m->card->task;

	return t ? t->nap_ms : 0;
}

void card_message_destroy(struct card_message *m)
{
	if (!m)
		return;
	if (m->task)
		task_end(m->card, m->task);
	if (m->card->reader == m)
		m->card->reader = NULL;
	json_decref(m->req);
	card_writer_fini(&m->out);
	free(m);
}

/* Takes `req`, a request or a batch of a size that may be. As card_rpc_answer(). */
static char *answer_message(struct card *c, json_t *req, struct card_message **later)
{
	struct card_message *m = dpu_calloc(1, sizeof(*m));
	char *text = NULL;
	bool more;

	if (!m) {
		json_decref(req);
		return NULL;
	}
	*m = (struct card_message){ .card = c, .req = req, .at_once = !later };
	do
		more = card_message_step(m, &text);
	while (more && !later);
	if (!more)
		card_message_destroy(m);
	if (later)
		*later = more ? m : NULL;
	return text;
}

char *card_rpc_error_text(int code, const char *text)
{
	return to_text(error_object(NULL, code, text, NULL));
}

char *card_rpc_answer(struct card *c, const char *msg, size_t len, struct card_message **later)
{
	json_error_t je;
	json_t *req = json_loadb(msg, len, JSON_REJECT_DUPLICATES, &je);
	size_t n = json_array_size(req);

	if (later)
		*later = NULL;
	if (!req) {
		bool duplicate = json_error_code(&je) == json_error_duplicate_key;
		struct card_error e;

		card_rpc_count(c, 1, 1, 1);
		card_fail(&e, 0, "%.120s", je.text);
		return card_rpc_error_text(duplicate ? CARD_RPC_REQUEST : CARD_RPC_PARSE, e.text);
	}
	if (json_is_array(req) && (n == 0 || n > CARD_RPC_BATCH_MAX)) {
		json_decref(req);
		card_rpc_count(c, 1, 1, 0);
		return card_rpc_error_text(CARD_RPC_REQUEST, "a batch holds 1 to 64 requests");
	}
	return answer_message(c, req, later);
}
