// SPDX-License-Identifier: Apache-2.0
/* Volumes of the inventory: create, delete, resize. */
#include "device.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_id.h"
#include "dpu_log.h"
#include "dpu_wire.h"
#include "nvmf.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "storage.h"

#define FILE_BLOCK 512u // of a plain file, unless another one is asked for
#define WEAR_MS 600000
#define GOING_MS 10

/* ---- by name ---- */

#define OF(type, member, ptr) ((type *)((char *)(ptr)-offsetof(type, member)))

struct card_volume *card_volume_find(const struct card *c, const char *name)
{
	struct card_index_link *l = card_index_find(&c->inv->volume_names, name);

	return l ? OF(struct card_volume, by_name, l) : NULL;
}

struct card_volume *card_volume_find_alias(const struct card *c, const char *alias)
{
	struct card_index_link *l = card_index_find(&c->inv->volume_aliases, alias);
	struct card_volume *v = l ? OF(struct card_volume, by_alias, l)
				  : card_volume_find(c, alias);

	return v && v->alias ? v : NULL;
}

static void unlist(struct card_volume *v)
{
	struct card_inventory *inv = v->card->inv;
	struct card_volume_walk *w;

	TAILQ_FOREACH (w, &inv->walks, link)
		if (w->next == v)
			w->next = TAILQ_NEXT(v, link);
	TAILQ_REMOVE(&inv->volumes, v, link);
	card_index_del(&inv->volume_names, &v->by_name);
	card_index_del(&inv->volume_uuids, &v->by_uuid);
	card_index_del(&inv->volume_aliases, &v->by_alias);
}

static int list(struct card_volume *v)
{
	struct card_inventory *inv = v->card->inv;
	int ret = card_index_add(&inv->volume_names, &v->by_name, v->name);

	TAILQ_INSERT_TAIL(&inv->volumes, v, link);
	if (!ret)
		ret = card_index_add(&inv->volume_uuids, &v->by_uuid, v->uuid);
	if (!ret && v->alias)
		ret = card_index_add(&inv->volume_aliases, &v->by_alias, v->alias);
	if (ret)
		unlist(v);
	return ret;
}

static bool same_text(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

/* Without a block size it has that of what is below it. */
static bool may_choose_blocks(enum card_volume_kind k)
{
	return card_layer_kind(k) || k == CARD_VOL_FILE;
}

/*
 * The size of a remote volume is what its far end says, and that of a file volume is its file's:
 * num_blocks only says how large to make one that is not there, and so makes no difference once it
 * is.
 */
static bool same(const struct card_volume_conf *a, const struct card_volume_conf *b)
{
	return a->kind == b->kind &&
	       (a->block_size == b->block_size || (may_choose_blocks(a->kind) && !b->block_size)) &&
	       (a->num_blocks == b->num_blocks || a->kind == CARD_VOL_FILE ||
		       a->kind == CARD_VOL_NVME) &&
	       (!a->header || !b->header || !strcmp(a->header, b->header)) &&
	       (a->read_only == b->read_only || a->kind == CARD_VOL_NVME) &&
	       a->direct == b->direct && a->prealloc == b->prealloc &&
	       a->strip_kib == b->strip_kib && same_text(a->path, b->path) &&
	       same_text(a->base, b->base) && same_text(a->key, b->key) &&
	       same_text(a->subnqn, b->subnqn) && a->nsid == b->nsid;
}

/* ---- identifiers ---- */

void card_uuid_derive(const struct card *c, const char *name, uint8_t out[16])
{
	dpu_uuid_of(card_name_hash(c, name, DPU_HASH_BASIS),
		card_name_hash(c, name, ~DPU_HASH_BASIS), out);
}

static int uuid_of(struct card *c, const struct card_volume_conf *conf, char out[CARD_UUID_TEXT],
	struct card_error *e)
{
	uint8_t id[16];

	if (!conf->uuid)
		card_uuid_derive(c, conf->name, id);
	else if (card_uuid_parse(conf->uuid, id))
		return card_fail(e, -EINVAL, "uuid: not a UUID");
	card_uuid_text(id, out);
	return 0;
}

static const struct card_volume *find_uuid(struct card *c, const char *uuid)
{
	struct card_index_link *l = card_index_find(&c->inv->volume_uuids, uuid);

	return l ? OF(struct card_volume, by_uuid, l) : NULL;
}

/* ---- opening ---- */

/*
 * Where a file volume's path really leads: its directory with every link resolved, then its last
 * component, which open does not follow. A relative path counts from volume_dir, and with one set
 * nothing outside it is opened.
 */
int card_volume_resolve(struct card *c, const char *path, char out[PATH_MAX], struct card_error *e)
{
	const char *base = c->opt.volume_dir, *last = strrchr(path, '/');
	char joined[PATH_MAX], root[PATH_MAX], dir[PATH_MAX];
	size_t len;

	last = last ? last + 1 : path;
	if (!*last || !strcmp(last, ".") || !strcmp(last, ".."))
		return card_fail(e, -EINVAL, "filename: %s names no file", path);
	if (path[0] != '/' && !base)
		return card_fail(e, -EINVAL, "filename: must be an absolute path");
	len = (size_t)snprintf(joined, sizeof(joined), "%s%s%.*s.", path[0] == '/' ? "" : base,
		path[0] == '/' ? "" : "/", (int)(last - path), path);
	if (len >= sizeof(joined))
		return card_fail(e, -ENAMETOOLONG, "filename: too long");
	if (!realpath(joined, dir))
		return card_fail(e, -errno, "filename: %s: %s", path, strerror(errno));
	if (base) {
		if (!realpath(base, root))
			return card_fail(e, -errno, "volume directory: %s", strerror(errno));
		len = strlen(root);
		if (strncmp(dir, root, len) != 0 || (dir[len] && dir[len] != '/'))
			return card_fail(e, -EACCES, "filename: %s is not below %s", path, base);
	}
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s", dir, last) >= PATH_MAX)
		return card_fail(e, -ENAMETOOLONG, "filename: too long");
	return 0;
}

static const struct card_volume *find_file(struct card *c, const struct stat *st)
{
	const struct card_volume *v;

	TAILQ_FOREACH (v, &c->inv->volumes, link)
		if (v->conf.kind == CARD_VOL_FILE &&
			(v->block_dev ? S_ISBLK(st->st_mode) && v->rdev == st->st_rdev
				      : v->dev == st->st_dev && v->ino == st->st_ino))
			return v;
	return NULL;
}

/* -EBUSY, and who has it. */
static int fail_busy(struct card *c, const char *path, struct card_error *e)
{
	const struct card_volume *other;
	struct stat st;

	other = lstat(path, &st) ? NULL : find_file(c, &st);
	return other ? card_fail(e, -EBUSY, "filename: %s: is %s already", path, other->name)
		     : card_fail(e, -EBUSY,
			       "filename: %s: another process has it, or it is mounted", path);
}

/* A restart does not come too early: the requests of a card that died may still hold its files. */
static int open_patiently(struct card *c, const struct vol_file_conf *conf, struct vol **out)
{
	int ret = vol_file_open(conf, out);
	struct stat st;

	if (!ret && conf->shared && !lstat(conf->path, &st) && find_file(c, &st)) {
		vol_close(*out); // with another card, not within this one
		*out = NULL;
		return -EBUSY;
	}
	while (ret == -EBUSY && dpu_now_ns() < c->patient_until_ns && !lstat(conf->path, &st) &&
		!find_file(c, &st)) {
		usleep(1000);
		ret = vol_file_open(conf, out);
	}
	return ret;
}

static int open_file(struct card *c, struct card_volume *v, struct card_error *e)
{
	struct vol_file_conf conf = {
		.name = v->name,
		.block_size = v->conf.block_size,
		.read_only = v->conf.read_only,
		.direct = v->conf.direct,
		.shared = v->conf.shared,
		.create_size = v->conf.num_blocks *
			       (v->conf.block_size ? v->conf.block_size : FILE_BLOCK),
	};
	char path[PATH_MAX];
	struct vol_info info;
	struct stat st;
	int ret = card_volume_resolve(c, v->path, path, e);

	if (ret)
		return ret;
	conf.path = path;
	ret = open_patiently(c, &conf, &v->vol);
	if (ret)
		return ret == -EBUSY ? fail_busy(c, path, e) : ret;
	vol_info(v->vol, &info);
	v->conf.block_size = info.block_size;
	if (!lstat(path, &st)) {
		v->block_dev = S_ISBLK(st.st_mode);
		v->dev = st.st_dev;
		v->rdev = st.st_rdev;
		v->ino = st.st_ino;
	}
	return 0;
}

static int open_nvme(struct card *c, struct card_volume *v)
{
	struct vol_nvmf_conf conf = {
		.name = v->name,
		.host = card_storage_host(c),
		.subnqn = v->conf.subnqn,
		.nsid = v->conf.nsid,
		.size = v->conf.num_blocks * v->conf.block_size,
		.block_size = v->conf.block_size,
		.read_only = v->conf.read_only,
		.can_discard = v->conf.can_discard,
		.can_zero = v->conf.can_zero,
		.volatile_cache = v->conf.volatile_cache,
		.policy = v->conf.policy,
	};

	if (v->conf.uuid_is_theirs)
		(void)card_uuid_parse(v->uuid, conf.uuid);
	return vol_nvmf_open(&conf, &v->vol);
}

static int open_volume(struct card *c, struct card_volume *v, struct card_error *e)
{
	const struct card_volume_conf *conf = &v->conf;
	uint64_t size = conf->num_blocks * conf->block_size;

	switch (conf->kind) {
	case CARD_VOL_NULL:
		return vol_null_open(
			&(struct vol_null_conf){ conf->name, size, conf->block_size }, &v->vol);
	case CARD_VOL_RAM:
		return vol_ram_open(&(struct vol_ram_conf){ conf->name, size, conf->block_size,
					    conf->prealloc },
			&v->vol);
	case CARD_VOL_FILE:
		return open_file(c, v, e);
	case CARD_VOL_NVME:
		return open_nvme(c, v);
	case CARD_VOL_CRYPT:
	case CARD_VOL_INTEGRITY:
	case CARD_VOL_STRIPE:
		return card_layer_open(c, v, e);
	}
	return -EINVAL;
}

static int check(const struct card_volume_conf *conf, struct card_error *e)
{
	if (!card_name_ok(conf->name))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	if (conf->block_size != 512 && conf->block_size != 4096 &&
		(!may_choose_blocks(conf->kind) || conf->block_size))
		return card_fail(e, -EINVAL, "block_size: must be 512 or 4096");
	if (card_layer_kind(conf->kind))
		return 0;
	if (conf->num_blocks > INT64_MAX / (conf->block_size ? conf->block_size : 4096))
		return card_fail(e, -EINVAL, "num_blocks: too large");
	if (conf->kind != CARD_VOL_FILE && conf->num_blocks == 0)
		return card_fail(e, -EINVAL, "num_blocks: must not be 0");
	if (conf->kind == CARD_VOL_FILE && (!conf->path || !conf->path[0]))
		return card_fail(e, -EINVAL, "filename: missing");
	return 0;
}

/* Cells wear slowly; a block device may take a moment to say how far they have. */
static void on_wear(void *arg)
{
	struct card *c = arg;
	struct card_volume *v;

	TAILQ_FOREACH (v, &c->inv->volumes, link)
		if (v->block_dev)
			vol_wear_refresh(v->vol);
	c->inv->wear_timer = c->vho_loop.timer(c->vho_loop.arg, WEAR_MS, on_wear, c);
}

/* Disks and namespaces on the volume hear of its new size. */
static void tell_resized(void *arg)
{
	struct card_volume *v = arg;
	struct card_function *f;

	card_nvmf_resized(v->card, v->vol);
	TAILQ_FOREACH (f, &v->card->inv->functions, link) {
		if (f->vol != v)
			continue;
		vho_blk_resized(f->blk);
		(void)vho_vu_config_changed(f->vu); // without a front-end there is nobody to tell
	}
}

bool card_volume_idle(struct card_volume *v, unsigned wait_ms)
{
	bool idle = vol_work_stop(v->vol);

	for (; !idle && wait_ms; wait_ms--) {
		usleep(1000);
		idle = vol_work_stop(v->vol);
	}
	return idle;
}

static void volume_free(struct card_volume *v)
{
	vol_close(v->vol);
	card_rekey_free(v);
	for (unsigned i = 0; i < v->n_below; i++) {
		struct card_volume *below = v->below[i];

		below->users--;
		below->above = NULL;
		vol_watch(below->vol, tell_resized, below); // the layer did
	}
	if (v->key)
		v->key->users--;
	free(v->path);
	free(v->base_name);
	free(v->key_name);
	free(v->subnqn);
	free(v->alias);
	free(v->header);
	free(v);
}

/* An optional string: ours, and as the configuration has it. */
static int copy_text(const char *text, char **owned, const char **conf)
{
	*owned = text ? strdup(text) : NULL;
	*conf = *owned;
	return text && !*owned ? -ENOMEM : 0;
}

int card_volume_create(struct card *c, const struct card_volume_conf *conf, struct card_error *e)
{
	const struct card_volume *other;
	struct card_volume *v;
	char uuid[CARD_UUID_TEXT];
	int ret = check(conf, e);

	if (!ret)
		ret = uuid_of(c, conf, uuid, e);
	if (ret)
		return ret;
	v = card_volume_find(c, conf->name);
	if (v && same(&v->conf, conf) && !strcmp(v->uuid, uuid))
		return 0;
	if (v)
		return card_fail(e, -EEXIST, "%s: exists with other parameters", conf->name);
	other = find_uuid(c, uuid);
	if (other)
		return card_fail(e, -EEXIST, "uuid: in use by %s", other->name);
	v = dpu_calloc(1, sizeof(*v));
	if (!v)
		return card_fail(e, -ENOMEM, "out of memory");
	memcpy(v->name, conf->name, strlen(conf->name));
	memcpy(v->uuid, uuid, sizeof(uuid));
	v->conf = *conf;
	v->conf.name = v->name;
	v->conf.uuid = v->uuid;
	if (copy_text(conf->path, &v->path, &v->conf.path) ||
		copy_text(conf->base, &v->base_name, &v->conf.base) ||
		copy_text(conf->key, &v->key_name, &v->conf.key) ||
		copy_text(conf->subnqn, &v->subnqn, &v->conf.subnqn) ||
		copy_text(conf->alias, &v->alias, &v->conf.alias) ||
		copy_text(conf->header, &v->header, &v->conf.header)) {
		volume_free(v);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	e->text[0] = 0;
	ret = open_volume(c, v, e);
	if (ret) {
		volume_free(v);
		return e->text[0] ? ret : card_fail(e, ret, "%s: %s", conf->name, strerror(-ret));
	}
	v->card = c;
	ret = list(v);
	if (ret) {
		volume_free(v);
		return card_fail(e, ret, "out of memory");
	}
	vol_watch(v->vol, tell_resized, v);
	if (v->block_dev && !c->inv->wear_timer)
		c->inv->wear_timer = c->vho_loop.timer(c->vho_loop.arg, WEAR_MS, on_wear, c);
	dpu_info("volume: created", "name=%s", v->name);
	return 0;
}

int card_volume_delete(struct card *c, const char *name, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	card_orphans_reap(c, 0);
	if (v->users || v->orphans)
		return card_fail(e, -EBUSY, "%s: in use by %u disks, volumes or namespaces", name,
			v->users + v->orphans);
	if (v->rekey && !c->inv->stop_by_ns)
		return card_fail(e, -EBUSY, "%s: gets another key", name);
	if (!card_volume_idle(v, 0))
		return CARD_RPC_LATER;
	unlist(v);
	dpu_info("volume: deleted", "name=%s", v->name);
	volume_free(v);
	return 0;
}

int card_volume_silent(const char *name, struct card_error *e)
{
	return card_fail(e, -EBUSY, "%s: the volume below does not answer", name);
}

void card_volumes_reap(struct card *c)
{
	struct card_volume *v, *next;

	for (v = TAILQ_FIRST(&c->inv->going); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (!card_volume_idle(v, 0))
			continue;
		TAILQ_REMOVE(&c->inv->going, v, link);
		volume_free(v);
	}
}

static void on_going(void *arg)
{
	struct card *c = arg;

	c->inv->going_timer = NULL;
	card_volumes_reap(c);
	if (!TAILQ_EMPTY(&c->inv->going))
		c->inv->going_timer = c->vho_loop.timer(c->vho_loop.arg, GOING_MS, on_going, c);
}

void card_volume_discard(struct card *c, const char *name)
{
	struct card_volume *v = card_volume_find(c, name);
	struct card_error e;
	int ret = v ? card_volume_delete(c, name, &e) : -ENODEV;

	if (ret && ret != CARD_RPC_LATER)
		dpu_warn("volume: stays", "name=%s reason=\"%s\"", name, v ? e.text : "none");
	if (ret != CARD_RPC_LATER)
		return;
	unlist(v);
	TAILQ_INSERT_TAIL(&c->inv->going, v, link);
	if (!c->inv->going_timer)
		c->inv->going_timer = c->vho_loop.timer(c->vho_loop.arg, GOING_MS, on_going, c);
}

int card_volume_work(struct card *c, const char *name, struct vol_work *out,
	char header[CARD_UUID_TEXT], struct card_error *e)
{
	const struct card_volume *v = card_volume_find(c, name);
	uint8_t id[16];

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	vol_work(v->vol, out);
	header[0] = '\0';
	if (v->conf.kind == CARD_VOL_INTEGRITY && out->kind == VOL_WORK_NONE && !out->err) {
		vol_integrity_uuid(v->vol, id);
		card_uuid_text(id, header);
	}
	return 0;
}

int card_volume_limits_set(
	struct card *c, const char *name, const struct vol_limits *l, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	vol_limits_set(v->vol, l);
	return 0;
}

int card_volume_latency_set(struct card *c, const char *name, uint32_t every, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	vol_latency_set(v->vol, every);
	return 0;
}

int card_volume_resize(struct card *c, const char *name, uint64_t num_blocks, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);
	int ret;

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	if (num_blocks == 0 || num_blocks > INT64_MAX / v->conf.block_size)
		return card_fail(e, -EINVAL, "num_blocks: out of range");
	if (v->above)
		return card_fail(
			e, -EBUSY, "%s: is below %s, which has its size", name, v->above->name);
	ret = vol_resize(v->vol, num_blocks * v->conf.block_size);
	if (ret)
		return card_fail(e, ret, "%s: %s", name, strerror(-ret));
	tell_resized(v);
	return 0;
}

int card_volume_unshare(struct card *c, const char *name, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);
	int ret;

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	ret = vol_file_unshare(v->vol);
	while (ret == -EBUSY && dpu_now_ns() < c->patient_until_ns) {
		usleep(1000);
		ret = vol_file_unshare(v->vol);
	}
	if (ret == -ENOTSUP)
		return card_fail(e, -EINVAL, "%s: has no file", name);
	if (ret)
		return card_fail(e, ret, "%s: %s: %s", name, v->path,
			ret == -EBUSY ? "another process has it" : strerror(-ret));
	v->conf.shared = false;
	return 0;
}

int card_volume_wear_set(
	struct card *c, const char *name, const struct vol_wear *wear, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);
	int ret;

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	ret = vol_wear_set(v->vol, wear);
	return ret ? card_fail(e, ret, "wear: out of range") : 0;
}
