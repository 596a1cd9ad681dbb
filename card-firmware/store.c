// SPDX-License-Identifier: Apache-2.0
/*
 * The durable store: staging, committing and replaying the calls that make up the card.
 *
 * state.json: {"version": 1, "card": NAME, "calls": [{"method": M, "params": {..}}, ..]}. The
 * next state is written to state.json.new beside it; only a rename makes it the state, so that a
 * crash at any point leaves the old one or the new one, whole.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc.h"
#include "rpc_schema.h"

#define STATE "state.json"
#define STATE_NEW "state.json.new"
#define STATE_VERSION 1

struct card_store {
	int dir; // owned; locked
	json_t *calls; // owned: what is on disk
	json_t *next; // owned: staged; NULL: nothing is
	json_t *degraded; // owned: calls whose replay failed, with "reason"
};

/* ---- trusted files ---- */

static int check_trusted(const struct stat *st, const char *path, struct card_error *e)
{
	if (!S_ISREG(st->st_mode))
		return card_fail(e, -EINVAL, "%s: not a plain file", path);
	if (st->st_nlink != 1)
		return card_fail(e, -EMLINK, "%s: has another name as well", path);
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return card_fail(e, -EACCES, "%s: owned by uid %u", path, (unsigned)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return card_fail(e, -EACCES, "%s: writable by group or others", path);
	if (st->st_size > CARD_STORE_BYTES_MAX)
		return card_fail(e, -EFBIG, "%s: larger than 16 MiB", path);
	return 0;
}

/* Read to the end, at most `max` bytes: the file may grow meanwhile. */
static long read_all(int fd, char *buf, size_t max)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, buf + len, max - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (long)len;
}

long card_file_read_trusted(int dir_fd, const char *path, char **out, struct card_error *e)
{
	struct stat st;
	char *buf;
	long ret;
	int fd = openat(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		ret = -errno;
		return card_fail(e, (int)ret, "%s: %s", path,
			ret == -ELOOP ? "is a symbolic link" : strerror((int)-ret));
	}
	if (fstat(fd, &st)) {
		ret = card_fail(e, -errno, "%s: %s", path, strerror(errno));
		goto out_fd;
	}
	ret = check_trusted(&st, path, e);
	if (ret)
		goto out_fd;
	buf = dpu_calloc(1, (size_t)st.st_size + 1);
	if (!buf) {
		ret = card_fail(e, -ENOMEM, "%s: out of memory", path);
		goto out_fd;
	}
	ret = read_all(fd, buf, (size_t)st.st_size);
	if (ret < 0) {
		card_fail(e, (int)ret, "%s: %s", path, strerror((int)-ret));
		free(buf);
		goto out_fd;
	}
	buf[ret] = '\0';
	*out = buf;
out_fd:
	close(fd);
	return ret;
}

/* ---- which object a call is about ---- */

static const struct card_method *method_of(const json_t *call)
{
	const char *name = json_string_value(json_object_get(call, "method"));

	return name ? card_method_find(name) : NULL;
}

/* A key that is not given means its default: compare as if it were 0 or absent. */
static bool same_value(const json_t *a, const json_t *b)
{
	if (a && b)
		return json_equal(a, b);
	return json_integer_value(a ? a : b) == 0 && !json_is_string(a ? a : b);
}

/* True when `call` of the store is about the object that `m` with `params` names. */
static bool same_object(const json_t *call, const struct card_method *m, const json_t *params)
{
	const struct card_method *kept = method_of(call);
	const json_t *kept_params = json_object_get(call, "params");

	if (!kept || !kept->kind || strcmp(kept->kind, m->kind) != 0)
		return false;
	if (!m->key)
		return true; // all of the kind
	if (!same_value(json_object_get(kept_params, kept->key), json_object_get(params, m->key)))
		return false;
	return !m->key2 || same_value(json_object_get(kept_params, kept->key2),
				   json_object_get(params, m->key2));
}

static size_t find_call(const json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t i, n = json_array_size(calls);

	for (i = 0; i < n; i++)
		if (same_object(json_array_get(calls, i), m, params))
			break;
	return i;
}

/* ---- the next state ---- */

static json_t *new_call(const struct card_method *m, const json_t *params)
{
	json_t *copy = params ? json_deep_copy(params) : json_object();

	return json_pack("{s:s, s:o}", "method", m->name, "params", copy);
}

static int apply_create(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at = find_call(calls, m, params);
	json_t *call = new_call(m, params);

	if (!call)
		return -ENOMEM;
	if (at < json_array_size(calls))
		return json_array_set_new(calls, at, call) ? -ENOMEM : 0;
	return json_array_append_new(calls, call) ? -ENOMEM : 0;
}

/* An object that the configuration file made has no call here: then the update itself is kept. */
static int apply_update(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at = find_call(calls, m, params);
	json_t *kept;
	const char *key;
	json_t *v;

	if (at == json_array_size(calls))
		return apply_create(calls, m, params);
	kept = json_object_get(json_array_get(calls, at), "params");
	json_object_foreach ((json_t *)(uintptr_t)params, key, v) {
		const struct card_param *p = card_method_param(
			method_of(json_array_get(calls, at)), key);

		if (p && !p->once && json_object_set(kept, key, v))
			return -ENOMEM;
	}
	return 0;
}

/* True when a flow or address is tied to the port of this name: it goes with the port. */
static bool uses_port(const json_t *call, const char *port)
{
	const json_t *params = json_object_get(call, "params");
	const char *flow = card_arg_str(params, "flow", ""), *at;
	size_t n = strlen(port);

	if (method_of(call) == card_method_at(CARD_M_mac_set))
		return !strcmp(card_arg_str(params, "port", ""), port);
	if (method_of(call) != card_method_at(CARD_M_flow_add))
		return false;
	if (!strncmp(flow, "in_port(", 8) && !strncmp(flow + 8, port, n) && flow[8 + n] == ')')
		return true;
	for (at = card_arg_str(params, "actions", ""); *at; at += strcspn(at, ",")) {
		at += *at == ',';
		if (strcspn(at, ",") == n && !strncmp(at, port, n))
			return true;
	}
	return false;
}

static void forget_users(json_t *calls, const json_t *made_port)
{
	const struct card_method *m = method_of(made_port);
	const char *name = card_arg_str(json_object_get(made_port, "params"), "name", "");

	if (m != card_method_at(CARD_M_net_create) && m != card_method_at(CARD_M_uplink_create))
		return;
	for (size_t i = json_array_size(calls); i-- > 0;)
		if (uses_port(json_array_get(calls, i), name))
			json_array_remove(calls, i);
}

static int apply_delete(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at;

	while ((at = find_call(calls, m, params)) < json_array_size(calls)) {
		json_t *gone = json_incref(json_array_get(calls, at));

		json_array_remove(calls, at);
		forget_users(calls, gone);
		json_decref(gone);
	}
	return 0;
}

static int apply(json_t *calls, const struct card_method *m, const json_t *params)
{
	switch (m->keep) {
	case CARD_KEEP_CREATE:
		return apply_create(calls, m, params);
	case CARD_KEEP_UPDATE:
		return apply_update(calls, m, params);
	case CARD_KEEP_DELETE:
		return apply_delete(calls, m, params);
	case CARD_KEEP_NONE:
		break;
	}
	return 0;
}

/* ---- to disk ---- */

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Write `calls` to STATE_NEW and make it stable. What stood there is replaced, not written into. */
static int write_next(struct card *c, const json_t *calls)
{
	json_t *state = json_pack("{s:i, s:s, s:O}", "version", STATE_VERSION, "card",
		c->opt.name ? c->opt.name : "", "calls", calls);
	char *text = state ? json_dumps(state, JSON_INDENT(1)) : NULL;
	int fd, ret;

	json_decref(state);
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
	ret = write_all(fd, text, strlen(text));
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
	next = json_deep_copy(s->calls);
	ret = next ? apply(next, m, params) : -ENOMEM;
	if (!ret && json_equal(next, s->calls)) {
		json_decref(next);
		return 0;
	}
	if (!ret)
		ret = write_next(c, next);
	if (ret) {
		json_decref(next);
		dpu_err("store: cannot write the next state", "dir=%s err=%s", c->opt.state_dir,
			strerror(-ret));
		return card_fail(e, ret, "%s: nothing done, as it could not be kept: %s", m->name,
			strerror(-ret));
	}
	s->next = next;
	return 0;
}

/* The object was made or deleted after all. */
static void clear_degraded(struct card_store *s, const struct card_method *m, const json_t *params)
{
	for (size_t i = json_array_size(s->degraded); i-- > 0;) {
		const json_t *d = json_array_get(s->degraded, i);

		if (same_object(json_object_get(d, "call"), m, params))
			json_array_remove(s->degraded, i);
	}
}

int card_store_commit(struct card *c, const struct card_method *m, const json_t *params)
{
	struct card_store *s = c->store;

	if (!s)
		return 0;
	if (m->keep != CARD_KEEP_UPDATE)
		clear_degraded(s, m, params);
	if (!s->next)
		return 0;
	if (renameat(s->dir, STATE_NEW, s->dir, STATE)) {
		int ret = -errno;

		dpu_err("store: cannot replace the state", "dir=%s err=%s", c->opt.state_dir,
			strerror(errno));
		card_store_abort(c);
		return ret;
	}
	json_decref(s->calls);
	s->calls = s->next;
	s->next = NULL;
	if (fsync(s->dir)) {
		dpu_err("store: cannot make the state stable", "dir=%s err=%s", c->opt.state_dir,
			strerror(errno));
		return -errno;
	}
	return 0;
}

void card_store_abort(struct card *c)
{
	struct card_store *s = c->store;

	if (!s || !s->next)
		return;
	json_decref(s->next);
	s->next = NULL;
	unlinkat(s->dir, STATE_NEW, 0);
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

		if (same_object(json_object_get(d, "call"), m, params))
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
		if (method_of(call) && json_is_object(json_object_get(call, "params")))
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
		dpu_err("store: refused", "dir=%s reason=\"%s\"", c->opt.state_dir, e.text);
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

/* Make every object again. One that cannot be made now is not forgotten. */
static void replay(struct card *c)
{
	size_t i;
	json_t *call, *result;

	json_array_foreach (c->store->calls, i, call) {
		struct card_error e;
		const struct card_method *m = method_of(call);
		int ret = card_rpc_run(
			c, m, json_object_get(call, "params"), CARD_RUN_REPLAY, &result, &e);

		json_decref(result);
		if (!ret)
			continue;
		dpu_warn("store: object not restored", "method=%s reason=\"%s\"", m->name, e.text);
		json_array_append_new(c->store->degraded,
			json_pack("{s:s, s:O}", "reason", e.text, "call", call));
	}
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
	json_decref(c->store->calls);
	json_decref(c->store->degraded);
	close(c->store->dir);
	free(c->store);
	c->store = NULL;
}
