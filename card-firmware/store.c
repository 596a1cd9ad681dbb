// SPDX-License-Identifier: Apache-2.0
/*
 * The durable store: staging, committing and replaying the calls that make up the card. The next
 * state is a list of its own, but of the same calls: one that changes is another one, so that what
 * a change costs is little more than writing the file, however many calls there are.
 *
 * state.json: {"version": 1, "card": NAME, "calls": [{"method": M, "params": {..}}, ..]}. The
 * next state is written to state.json.new beside it; only a rename makes it the state, so that a
 * crash at any point leaves the old one or the new one, whole.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "store_calls.h"
#include "trusted.h"

#define STATE "state.json"
#define STATE_NEW "state.json.new"
#define STATE_VERSION 1
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 30000
#define REPLAY_PASSES 4 // an uplink, its address, a route by it, a flow: nothing hangs deeper

struct card_store {
	int dir; // owned; locked
	json_t *calls; // owned: what is on disk
	json_t *texts; // owned: of each of them, as it is there
	json_t *next, *next_texts; // owned: staged; NULL: nothing is
	json_t *degraded; // owned: calls whose replay failed, with "reason", and whether "busy"
	void *retry; // timer; NULL: nothing is tried again by itself
	unsigned retry_ms; // what it is set to next
};

/* ---- to disk ---- */

static json_t *text_of(const json_t *call)
{
	char *dump = json_dumps(call, 0);
	json_t *text = dump ? json_string_nocheck(dump) : NULL;

	free(dump);
	return text;
}

/*
 * A text for each call, those of the store as it has them. What is left of its calls stands in the
 * same order. NULL: no memory.
 */
static json_t *texts_of(const struct card_store *s, const json_t *calls)
{
	json_t *texts = json_array(), *call;
	size_t i, known = 0;

	json_array_foreach ((json_t *)(uintptr_t)calls, i, call) {
		json_t *text = NULL;

		for (size_t k = known; k < json_array_size(s->texts) && !text; k++) {
			if (json_array_get(s->calls, k) != call)
				continue;
			text = json_incref(json_array_get(s->texts, k));
			known = k + 1;
		}
		if (json_array_append_new(texts, text ? text : text_of(call))) {
			json_decref(texts);
			return NULL;
		}
	}
	return texts;
}

/* The whole state; free() it. NULL: no memory, or the card's name is no text. */
static char *state_text(const struct card *c, const json_t *texts)
{
	json_t *name = json_string(c->opt.name ? c->opt.name : ""), *one;
	char *quoted = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL, *text = NULL;
	size_t size, i;
	FILE *f = quoted ? open_memstream(&text, &size) : NULL;

	json_decref(name);
	if (f)
		fprintf(f, "{\"version\": %d, \"card\": %s, \"calls\": [", STATE_VERSION, quoted);
	free(quoted);
	if (!f)
		return NULL;
	json_array_foreach ((json_t *)(uintptr_t)texts, i, one)
		fprintf(f, "%s\n %s", i ? "," : "", json_string_value(one));
	fputs("\n]}\n", f);
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

/* Write it to STATE_NEW and make it stable. What stood there is replaced, not written into. */
static int write_next(struct card *c, const json_t *texts)
{
	char *text = state_text(c, texts);
	int fd, ret;

	if (!text)
		return -ENOMEM;
	if (unlinkat(c->store->dir, STATE_NEW, 0) && errno != ENOENT) {
		ret = -errno;
		goto out;
	}
	fd = openat(c->store->dir, STATE_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		0600);
	if (fd < 0) {
		ret = -errno;
		goto out;
	}
	ret = card_file_write_all(fd, text, strlen(text));
	if (!ret && fsync(fd))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	if (ret)
		unlinkat(c->store->dir, STATE_NEW, 0);
out:
	free(text);
	return ret;
}

/* What the store knows of the call that makes the object. */
static enum card_calls_maker maker_state(
	const struct card_store *s, const struct card_method *m, const json_t *params)
{
	for (size_t i = 0; i < json_array_size(s->degraded); i++) {
		const json_t *call = json_object_get(json_array_get(s->degraded, i), "call");

		if (card_call_about(call, m, params) &&
			card_call_method(call)->keep != CARD_KEEP_UPDATE)
			return CARD_MAKER_FAILED;
	}
	return CARD_MAKER_STANDS;
}

/* Takes the next state, and stages it unless it is the present one. 0 or -errno. */
static int stage_next(struct card *c, json_t *next)
{
	struct card_store *s = c->store;
	json_t *texts;
	int ret;

	if (json_equal(next, s->calls)) {
		json_decref(next);
		return 0;
	}
	texts = texts_of(s, next);
	ret = texts ? write_next(c, texts) : -ENOMEM;
	if (ret) {
		json_decref(next);
		json_decref(texts);
		dpu_err("store: cannot write the next state", "dir=%s err=%s", c->opt.state_dir,
			strerror(-ret));
		return ret;
	}
	s->next = next;
	s->next_texts = texts;
	return 0;
}

int card_store_stage(
	struct card *c, const struct card_method *m, const json_t *params, struct card_error *e)
{
	struct card_store *s = c->store;
	json_t *next;
	int ret;

	if (!s || m->keep == CARD_KEEP_NONE)
		return 0;
	if (s->next)
		return card_fail(e, -EBUSY, "store: a change is under way");
	next = json_copy(s->calls);
	ret = next ? card_calls_apply(next, m, params, maker_state(s, m, params)) : -ENOMEM;
	if (ret)
		json_decref(next);
	else
		ret = stage_next(c, next);
	return ret ? card_fail(e, ret, "%s: nothing done, as it could not be kept: %s", m->name,
			     strerror(-ret))
		   : 0;
}

/*
 * What was degraded is no more: the change was made; or the object was made or deleted after all,
 * and whatever was about the old one with it.
 */
static void clear_degraded(struct card_store *s, const struct card_method *m, const json_t *params)
{
	if (m->keep == CARD_KEEP_CREATE && maker_state(s, m, params) == CARD_MAKER_STANDS)
		return; // the object was there
	for (size_t i = json_array_size(s->degraded); i-- > 0;) {
		const json_t *call = json_object_get(json_array_get(s->degraded, i), "call");

		if (card_call_about(call, m, params) &&
			(m->keep != CARD_KEEP_UPDATE || card_call_method(call) == m))
			json_array_remove(s->degraded, i);
	}
}

/* What is staged is the state. */
static int commit_next(struct card *c)
{
	struct card_store *s = c->store;

	if (renameat(s->dir, STATE_NEW, s->dir, STATE)) {
		int ret = -errno;

		dpu_err("store: cannot replace the state", "dir=%s err=%s", c->opt.state_dir,
			strerror(errno));
		card_store_abort(c);
		return ret;
	}
	json_decref(s->calls);
	json_decref(s->texts);
	s->calls = s->next;
	s->texts = s->next_texts;
	s->next = s->next_texts = NULL;
	if (fsync(s->dir)) {
		dpu_err("store: cannot make the state stable", "dir=%s err=%s", c->opt.state_dir,
			strerror(errno));
		return -errno;
	}
	return 0;
}

int card_store_commit(struct card *c, const struct card_method *m, const json_t *params)
{
	struct card_store *s = c->store;

	if (!s)
		return 0;
	clear_degraded(s, m, params);
	return s->next ? commit_next(c) : 0;
}

int card_store_namespaces(struct card *c, const char *ctrl, const json_t *namespaces)
{
	struct card_store *s = c->store;
	json_t *next;
	int ret;

	if (!s)
		return 0;
	if (s->next)
		return -EBUSY;
	next = json_copy(s->calls);
	ret = next ? card_calls_namespaces(next, ctrl, namespaces) : -ENOMEM;
	if (ret) {
		json_decref(next);
		return ret;
	}
	ret = stage_next(c, next);
	return ret || !s->next ? ret : commit_next(c);
}

void card_store_abort(struct card *c)
{
	struct card_store *s = c->store;

	if (!s || !s->next)
		return;
	json_decref(s->next);
	json_decref(s->next_texts);
	s->next = s->next_texts = NULL;
	unlinkat(s->dir, STATE_NEW, 0);
}

int card_store_dir(const struct card *c)
{
	return c->store ? c->store->dir : -1;
}

const json_t *card_store_calls(const struct card *c)
{
	return c->store ? c->store->calls : NULL;
}

const json_t *card_store_degraded(const struct card *c)
{
	return c->store ? c->store->degraded : NULL;
}

bool card_store_is_degraded(const struct card *c, const struct card_method *m, const json_t *params)
{
	if (!c->store)
		return false;
	for (size_t i = 0; i < json_array_size(c->store->degraded); i++) {
		const json_t *d = json_array_get(c->store->degraded, i);

		if (card_call_about(json_object_get(d, "call"), m, params))
			return true;
	}
	return false;
}

/* ---- open ---- */

static int check_state(struct card *c, const json_t *state)
{
	const json_t *version = json_object_get(state, "version");
	const char *card = json_string_value(json_object_get(state, "card"));
	const char *name = c->opt.name ? c->opt.name : "";
	size_t i;
	json_t *call;

	if (!json_is_integer(version) || !card || !json_is_array(json_object_get(state, "calls"))) {
		dpu_err("store: not a state file", "dir=%s", c->opt.state_dir);
		return -EBADMSG;
	}
	if (json_integer_value(version) != STATE_VERSION) {
		dpu_err("store: written by another version", "dir=%s version=%lld known=%d",
			c->opt.state_dir, (long long)json_integer_value(version), STATE_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (strcmp(card, name) != 0) {
		dpu_err("store: belongs to another card", "dir=%s card=%s ours=%s",
			c->opt.state_dir, card, name);
		return -EPERM;
	}
	json_array_foreach (json_object_get(state, "calls"), i, call) {
		if (card_call_method(call) && json_is_object(json_object_get(call, "params")))
			continue;
		dpu_err("store: not a call", "dir=%s index=%zu", c->opt.state_dir, i);
		return -EBADMSG;
	}
	return 0;
}

static int load(struct card *c)
{
	struct card_error e;
	json_error_t je;
	json_t *state;
	char *text = NULL;
	long len = card_file_read_trusted(c->store->dir, STATE, &text, &e);
	int ret;

	if (len == -ENOENT) {
		c->store->calls = json_array();
		return c->store->calls ? 0 : -ENOMEM;
	}
	if (len < 0) {
		dpu_err("store: refused", "file=%s/" STATE " reason=\"%s\"", c->opt.state_dir,
			e.text);
		return (int)len;
	}
	state = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &je);
	free(text);
	if (!state) {
		dpu_err("store: not JSON", "dir=%s line=%d reason=\"%s\"", c->opt.state_dir,
			je.line, je.text);
		return -EBADMSG;
	}
	ret = check_state(c, state);
	if (!ret)
		c->store->calls = json_incref(json_object_get(state, "calls"));
	json_decref(state);
	return ret;
}

static int replay_one(struct card *c, const json_t *call, struct card_error *e)
{
	json_t *result;
	int ret = card_rpc_run(c, card_call_method(call), json_object_get(call, "params"),
		CARD_RUN_REPLAY, &result, e);

	json_decref(result);
	return ret;
}

/* Somebody has what it needs, and may let it go. */
static bool is_busy(const json_t *failed)
{
	return json_is_true(json_object_get(failed, "busy")) &&
	       !strcmp(card_call_method(json_object_get(failed, "call"))->kind, "volume");
}

/* Once more what failed; how many calls of it did not now. The others have a new reason. */
static size_t replay_failed(struct card *c, bool only_busy)
{
	json_t *failed = c->store->degraded;
	struct card_error e;
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(failed);) {
		json_t *f = json_array_get(failed, i);
		int ret = 1;

		if (!only_busy || is_busy(f))
			ret = replay_one(c, json_object_get(f, "call"), &e);
		if (ret < 0) {
			json_object_set_new(f, "reason", json_string(e.text));
			json_object_set_new(f, "busy", json_boolean(ret == -EBUSY));
		}
		if (ret) {
			i++;
			continue;
		}
		json_array_remove(failed, i);
		n++;
	}
	return n;
}

/* ---- what was busy is tried again by itself ---- */

static void retry_later(struct card *c);

/* A file is free again: its volume is made, and then what could not be made without that. */
static void on_retry(void *arg)
{
	struct card *c = arg;
	struct card_store *s = c->store;
	size_t n = 0;

	s->retry = NULL;
	if (c->task || s->next) { // a call takes steps
		retry_later(c);
		return;
	}
	n = replay_failed(c, true);
	s->retry_ms = n ? RETRY_MIN_MS : s->retry_ms * 2;
	if (s->retry_ms > RETRY_MAX_MS)
		s->retry_ms = RETRY_MAX_MS;
	if (n)
		dpu_info("store: what was busy is restored", "n=%zu", n);
	for (unsigned k = 0; n && k < REPLAY_PASSES && json_array_size(s->degraded); k++)
		n = replay_failed(c, false);
	retry_later(c);
}

static void retry_later(struct card *c)
{
	struct card_store *s = c->store;
	const json_t *f;
	bool any = false;
	size_t i;

	json_array_foreach (s->degraded, i, f)
		any = any || is_busy(f);
	if (any && c->vho_loop.timer) // no memory: an operator's call makes it
		s->retry = c->vho_loop.timer(c->vho_loop.arg, s->retry_ms, on_retry, c);
}

/*
 * Make every object again. One that cannot be made now is not forgotten. What a call says today may
 * be about objects that stand behind it, because it took the place of an older one: such a call is
 * made once they are there.
 */
static void replay(struct card *c)
{
	json_t *failed = c->store->degraded, *call, *f;
	struct card_error e;
	size_t i;

	json_array_foreach (c->store->calls, i, call) {
		int ret = replay_one(c, call, &e);

		if (ret)
			json_array_append_new(failed, json_pack("{s:s, s:O, s:b}", "reason", e.text,
							      "call", call, "busy", ret == -EBUSY));
	}
	for (unsigned n = 0; n < REPLAY_PASSES && json_array_size(failed); n++)
		if (replay_failed(c, false) == 0)
			break;
	json_array_foreach (failed, i, f)
		dpu_warn("store: object not restored", "method=%s reason=\"%s\"",
			card_call_method(json_object_get(f, "call"))->name,
			json_string_value(json_object_get(f, "reason")));
	c->store->retry_ms = RETRY_MIN_MS;
	retry_later(c);
}

/* The directory is ours, nobody else can write to it, and no other daemon uses it. */
static int open_dir(const char *path, int *out)
{
	struct stat st;
	int fd, ret;

	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		ret = -errno;
		goto err;
	}
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		ret = -EACCES;
		goto err;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		ret = errno == EWOULDBLOCK ? -EBUSY : -errno;
		goto err;
	}
	*out = fd;
	return 0;

err:
	close(fd);
	return ret;
}

int card_store_open(struct card *c)
{
	int ret;

	if (!c->opt.state_dir)
		return 0;
	c->store = dpu_calloc(1, sizeof(*c->store));
	if (!c->store)
		return -ENOMEM;
	ret = open_dir(c->opt.state_dir, &c->store->dir);
	if (ret) {
		dpu_err("store: cannot use the state directory", "dir=%s err=%s", c->opt.state_dir,
			ret == -EBUSY ? "another daemon uses it" : strerror(-ret));
		goto err_store;
	}
	ret = load(c);
	if (ret)
		goto err_dir;
	c->store->texts = texts_of(c->store, c->store->calls);
	c->store->degraded = json_array();
	unlinkat(c->store->dir, STATE_NEW, 0); // of a run that ended between stage and commit
	replay(c);
	return 0;

err_dir:
	close(c->store->dir);
err_store:
	free(c->store);
	c->store = NULL;
	return ret;
}

void card_store_close(struct card *c)
{
	if (!c->store)
		return;
	card_store_abort(c);
	if (c->store->retry)
		c->vho_loop.timer_cancel(c->vho_loop.arg, c->store->retry);
	json_decref(c->store->calls);
	json_decref(c->store->texts);
	json_decref(c->store->degraded);
	close(c->store->dir);
	free(c->store);
	c->store = NULL;
}
