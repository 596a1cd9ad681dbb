// SPDX-License-Identifier: Apache-2.0
/*
 * Logical volumes: a store is a folder, a volume a file in it whose name is the volume's UUID. How
 * much room there is, and who gets which blocks, is the file system's. Control thread.
 */
#include "device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "errand.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "store.h"

#define BLOCK 512u

struct card_lvstore {
	TAILQ_ENTRY(card_lvstore) link;
	char name[CARD_NAME_MAX + 1];
	char uuid[CARD_UUID_TEXT];
	char *path; // owned: the folder
	unsigned users; // calls that make volumes in it
};

static struct card_lvstore *named(struct card *c, const char *name)
{
	struct card_lvstore *s;

	TAILQ_FOREACH (s, &c->inv->lvstores, link)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

/* By its UUID, too. */
static struct card_lvstore *find(struct card *c, const char *name)
{
	struct card_lvstore *s;

	TAILQ_FOREACH (s, &c->inv->lvstores, link)
		if (!strcmp(s->name, name) || !strcasecmp(s->uuid, name))
			return s;
	return NULL;
}

/* Of names that no volume can have. */
static void uuid_of(const struct card *c, const char *key, char out[CARD_UUID_TEXT])
{
	uint8_t id[16];

	card_uuid_derive(c, key, id);
	card_uuid_text(id, out);
}

void card_lvstore_uuid(const struct card *c, const char *name, char out[CARD_UUID_TEXT])
{
	char key[CARD_NAME_MAX + 16];

	(void)snprintf(key, sizeof(key), "lvstore %s", name);
	uuid_of(c, key, out);
}

void card_lvol_uuid(
	const struct card *c, const char *store, const char *name, char out[CARD_UUID_TEXT])
{
	char key[2 * CARD_NAME_MAX + 16];

	(void)snprintf(key, sizeof(key), "lvol %s/%s", store, name);
	uuid_of(c, key, out);
}

/* ---- stores ---- */

int card_lvstore_create(struct card *c, const char *name, const char *path, struct card_error *e)
{
	struct card_lvstore *s = named(c, name);
	char inside[PATH_MAX], real[PATH_MAX];
	struct stat st;
	int ret;

	if (!card_name_ok(name))
		return card_fail(e, -EINVAL, "lvs_name: " CARD_NAME_RULE);
	if (s && !strcmp(s->path, path))
		return 0;
	if (s)
		return card_fail(e, -EEXIST, "%s: exists with another path", name);
	if (path[0] != '/')
		return card_fail(e, -EINVAL, "path: must be absolute");
	if (stat(path, &st) < 0)
		return card_fail(e, -errno, "path: %s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return card_fail(e, -ENOTDIR, "path: %s: not a folder", path);
	if ((size_t)snprintf(inside, sizeof(inside), "%s/volume", path) >= sizeof(inside))
		return card_fail(e, -ENAMETOOLONG, "path: too long");
	ret = card_volume_resolve(c, inside, real, e);
	if (ret)
		return ret;
	s = dpu_calloc(1, sizeof(*s));
	if (s)
		s->path = strdup(path);
	if (!s || !s->path) {
		free(s);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	memcpy(s->name, name, strlen(name));
	card_lvstore_uuid(c, name, s->uuid);
	TAILQ_INSERT_TAIL(&c->inv->lvstores, s, link);
	dpu_info("lvstore: created", "name=%s path=%s", name, path);
	// At the start when all volumes are known; never what is just being made.
	if (!c->patient_until_ns && !c->task)
		card_lvols_sweep(c);
	return 0;
}

static bool has_volumes(struct card *c, const struct card_lvstore *s)
{
	const struct card_volume *v;

	TAILQ_FOREACH (v, &c->inv->volumes, link)
		if (v->alias && !strncmp(v->alias, s->name, strlen(s->name)) &&
			v->alias[strlen(s->name)] == '/')
			return true;
	return false;
}

static void lvstore_free(struct card *c, struct card_lvstore *s)
{
	TAILQ_REMOVE(&c->inv->lvstores, s, link);
	free(s->path);
	free(s);
}

int card_lvstore_delete(struct card *c, const char *name, struct card_error *e)
{
	struct card_lvstore *s = find(c, name);

	if (!s)
		return card_fail(e, -ENODEV, "%s: no such store of volumes", name);
	if (s->users || has_volumes(c, s))
		return card_fail(e, -EBUSY, "%s: has volumes", name);
	dpu_info("lvstore: deleted", "name=%s", s->name);
	lvstore_free(c, s);
	return 0;
}

void card_lvstores_fini(struct card *c)
{
	struct card_lvstore *s = TAILQ_FIRST(&c->inv->lvstores), *next;

	for (; s; s = next) {
		next = TAILQ_NEXT(s, link);
		lvstore_free(c, s);
	}
}

void card_lvstore_foreach(
	struct card *c, bool (*fn)(const struct card_lvstore_view *v, void *arg), void *arg)
{
	struct card_lvstore *s;

	TAILQ_FOREACH (s, &c->inv->lvstores, link) {
		struct card_lvstore_view v = { .name = s->name, .uuid = s->uuid, .path = s->path };
		struct statvfs fs;

		if (!statvfs(s->path, &fs)) {
			v.size = (uint64_t)fs.f_blocks * fs.f_frsize;
			v.free = (uint64_t)fs.f_bavail * fs.f_frsize;
		}
		if (!fn(&v, arg))
			return;
	}
}

/* ---- volumes ---- */

/*
 * Beside a file that is being made or deleted lies a mark, FILE.new, a link to the name of the card
 * that does it. It is there before the first step and gone after the last one, so that whatever
 * ends the card leaves either a file that the store knows or a mark to find the other by.
 */
#define MARK ".new"

static const char *mark_text(const struct card *c)
{
	return c->opt.name && c->opt.name[0] ? c->opt.name : "card";
}

static void mark_path(const char *path, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%.*s" MARK, PATH_MAX - (int)sizeof(MARK), path);
}

/* By this card. */
static bool is_marked(const struct card *c, const char *path)
{
	const char *text = mark_text(c);
	char mark[PATH_MAX], to[PATH_MAX];
	ssize_t n;

	mark_path(path, mark);
	n = readlink(mark, to, sizeof(to));
	return n >= 0 && (size_t)n == strlen(text) && !memcmp(to, text, (size_t)n);
}

static int put_mark(const struct card *c, const char *path)
{
	char mark[PATH_MAX];

	mark_path(path, mark);
	return symlink(mark_text(c), mark) && !(errno == EEXIST && is_marked(c, path)) ? -errno : 0;
}

static int remove_marked(const char *path)
{
	char mark[PATH_MAX];
	int ret = unlink(path) && errno != ENOENT ? -errno : 0;

	mark_path(path, mark);
	if (!ret && unlink(mark) && errno != ENOENT)
		ret = -errno;
	return ret;
}

static void take_mark(const char *path)
{
	char mark[PATH_MAX];

	mark_path(path, mark);
	(void)unlink(mark);
}

/* What was made in the folder of this file is there for good. */
static int sync_folder(const char *path)
{
	char folder[PATH_MAX];
	int fd, ret = 0;

	(void)snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		ret = -errno;
	close(fd);
	return ret;
}

/* ---- what is done to files on a thread of its own: errand.h ---- */

struct chore {
	char path[PATH_MAX];
	uint64_t size;
	bool thick; // with blocks of its own
};

/* The file, new. */
static int make_file(void *arg)
{
	const struct chore *k = arg;
	int fd = open(k->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), ret = 0;

	if (fd < 0)
		return -errno;
	if (k->thick ? fallocate(fd, 0, 0, (off_t)k->size) : ftruncate(fd, (off_t)k->size))
		ret = -errno;
	if (!ret && fsync(fd))
		ret = -errno;
	close(fd);
	if (!ret)
		ret = sync_folder(k->path); // before anybody hears of it
	if (ret)
		(void)unlink(k->path);
	return ret == -EFBIG ? -ENOSPC : ret;
}

static void unmake_file(void *arg, int ret)
{
	const struct chore *k = arg;

	if (!ret)
		(void)unlink(k->path);
	take_mark(k->path);
}

/* What a thick one grows by is taken beforehand, as all of it was. Its size stays. */
static int take_blocks(void *arg)
{
	const struct chore *k = arg;
	int fd = open(k->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), ret = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)k->size))
		ret = -errno;
	if (ret && !fstat(fd, &st)) // those that it got go back
		(void)!ftruncate(fd, st.st_size);
	close(fd);
	return ret;
}

static int remove_file(void *arg)
{
	return remove_marked(((struct chore *)arg)->path);
}

static const struct card_errand_ops making = { make_file, unmake_file, free };
static const struct card_errand_ops growing = { take_blocks, NULL, free };
static const struct card_errand_ops removing = { remove_file, NULL, free };

static int begin(const struct card_errand_ops *ops, const char *path, uint64_t size, bool thick,
	struct card_errand **out)
{
	struct chore *k = dpu_calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	(void)snprintf(k->path, sizeof(k->path), "%s", path);
	k->size = size;
	k->thick = thick;
	return card_errand_start(ops, k, out);
}

/* In its own time; the mark says so until then. */
static void remove_later(const char *path)
{
	struct card_errand *x = NULL;

	if (begin(&removing, path, 0, false, &x))
		dpu_warn("lvol: a file is left to the next start", "path=%s", path);
	card_errand_leave(x);
}

/* ---- what takes steps ---- */

struct card_lvol_work {
	int (*step)(struct card_lvol_work *w, struct card_error *e);
	struct card *card; // borrowed
	struct card_lvstore *store; // borrowed: counts us; NULL: none
	struct card_errand *errand; // owned; NULL: none is out
	char name[CARD_NAME_MAX + 1]; // among the card's volumes
	char alias[2 * CARD_NAME_MAX + 2];
	char path[PATH_MAX];
	uint64_t size;
	uint64_t until_ns;
	bool made, gone; // the volume
};

static struct card_lvol_work *work_new(struct card *c, const char *name, const char *alias,
	const char *path, int (*step)(struct card_lvol_work *w, struct card_error *e))
{
	struct card_lvol_work *w = dpu_calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->step = step;
	w->card = c;
	(void)snprintf(w->name, sizeof(w->name), "%s", name);
	(void)snprintf(w->alias, sizeof(w->alias), "%s", alias);
	(void)snprintf(w->path, sizeof(w->path), "%s", path);
	return w;
}

int card_lvol_step(struct card_lvol_work *w, struct card_error *e)
{
	return w->step(w, e);
}

static bool is_stored(const struct card *c, const char *uuid)
{
	const json_t *call;
	size_t i;

	json_array_foreach (card_store_calls(c), i, call) {
		const char *method = json_string_value(json_object_get(call, "method"));

		if (method && !strcmp(method, "bdev_lvol_create") &&
			!strcmp(card_arg_str(json_object_get(call, "params"), "name", ""), uuid))
			return true;
	}
	return false;
}

void card_lvol_end(struct card_lvol_work *w, bool unkept)
{
	struct card_error e;

	if (w->store)
		w->store->users--;
	// Nobody would know the file after a restart. What may be on disk in spite of all stays.
	if (w->made && unkept && !is_stored(w->card, w->name) &&
		!card_volume_delete(w->card, w->name, &e))
		remove_later(w->path);
	else if (w->made)
		take_mark(w->path);
	if (w->gone && !w->errand)
		remove_later(w->path);
	card_errand_leave(w->errand);
	free(w);
}

/* Thin volumes together may be larger than their store, one of them may not. */
static bool fits(const struct card_lvstore *s, uint64_t size)
{
	struct statvfs fs;

	return size <= INT64_MAX &&
	       (statvfs(s->path, &fs) || size <= (uint64_t)fs.f_blocks * fs.f_frsize);
}

/* With every link of the folder resolved. */
static int file_of(struct card *c, const struct card_lvstore *s, const char *uuid,
	char out[PATH_MAX], struct card_error *e)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", s->path, uuid) >= sizeof(path))
		return card_fail(e, -ENAMETOOLONG, "path: too long");
	return card_volume_resolve(c, path, out, e);
}

static int open_volume(
	struct card *c, const char *name, const char *alias, const char *path, struct card_error *e)
{
	return card_volume_create(c,
		&(struct card_volume_conf){ .name = name,
			.kind = CARD_VOL_FILE,
			.block_size = BLOCK,
			.path = path,
			.direct = true,
			.uuid = name,
			.alias = alias },
		e);
}

/* ---- making one ---- */

static int create_step(struct card_lvol_work *w, struct card_error *e)
{
	int ret;

	if (!card_errand_back(w->errand, &ret))
		return CARD_RPC_LATER;
	w->errand = NULL;
	if (ret) { // as SPDK says it: its clients look for these words
		take_mark(w->path);
		return card_fail(e, ret, "%s: %s", w->alias, strerror(-ret));
	}
	ret = open_volume(w->card, w->name, w->alias, w->path, e);
	if (ret)
		remove_later(w->path);
	else
		w->made = true;
	return ret;
}

static int create_begin(struct card *c, struct card_lvstore *s, const struct card_lvol_conf *conf,
	const char *alias, const char *path, struct card_lvol_work **out, struct card_error *e)
{
	struct card_lvol_work *w = work_new(c, conf->uuid, alias, path, create_step);
	int ret = w ? put_mark(c, path) : -ENOMEM;

	if (ret)
		goto err_work;
	ret = begin(&making, path, conf->size, !conf->thin, &w->errand);
	if (ret)
		goto err_mark;
	w->store = s;
	s->users++;
	*out = w;
	return CARD_RPC_LATER;

err_mark:
	take_mark(path);
err_work:
	free(w);
	return card_fail(e, ret, "%s: %s", alias, strerror(-ret));
}

int card_lvol_create(struct card *c, const struct card_lvol_conf *conf, struct card_lvol_work **out,
	struct card_error *e)
{
	struct card_lvstore *s = find(c, conf->store);
	char path[PATH_MAX], alias[2 * CARD_NAME_MAX + 2];
	const char *other;
	int ret;

	if (!s)
		return card_fail(e, -ENODEV, "%s: No such device", conf->store);
	if (!card_name_ok(conf->name))
		return card_fail(e, -EINVAL, "lvol_name: " CARD_NAME_RULE);
	if (!card_name_ok(conf->uuid))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	if (!fits(s, conf->size))
		return card_fail(e, -ENOSPC, "size: No space left on device");
	(void)snprintf(alias, sizeof(alias), "%s/%s", s->name, conf->name);
	other = card_lvol_find(c, alias);
	if (other && strcmp(other, conf->uuid) != 0)
		return card_fail(e, -EEXIST, "%s: File exists", alias);
	ret = file_of(c, s, conf->uuid, path, e);
	if (ret)
		return ret;
	return conf->size ? create_begin(c, s, conf, alias, path, out, e)
			  : open_volume(c, conf->uuid, alias, path, e);
}

bool card_lvol_has_file(struct card *c, const char *store, const char *uuid)
{
	struct card_lvstore *s = find(c, store);
	char path[PATH_MAX];
	struct card_error e;

	if (!s || file_of(c, s, uuid, path, &e))
		return false;
	if (is_marked(c, path) && !card_volume_find(c, uuid)) { // a card died over it
		dpu_warn("lvol: what was left half made is removed", "path=%s", path);
		(void)remove_marked(path);
	}
	return !access(path, F_OK);
}

const char *card_lvol_find(struct card *c, const char *name)
{
	const struct card_volume *v = card_volume_find_alias(c, name);

	return v ? v->name : NULL;
}

/* ---- resizing one ---- */

static int resize_step(struct card_lvol_work *w, struct card_error *e)
{
	int ret;

	if (!card_errand_back(w->errand, &ret))
		return CARD_RPC_LATER;
	w->errand = NULL;
	return ret ? card_fail(e, ret, "%s: %s", w->alias, strerror(-ret))
		   : card_volume_resize(w->card, w->name, w->size / BLOCK, e);
}

static bool grows_thick(const char *path, uint64_t size)
{
	struct stat st;

	return !lstat(path, &st) && st.st_blocks * 512 >= st.st_size && (uint64_t)st.st_size < size;
}

int card_lvol_resize(struct card *c, const char *name, uint64_t size, struct card_lvol_work **out,
	struct card_error *e)
{
	const struct card_volume *v = card_volume_find_alias(c, name);
	struct card_lvol_work *w;
	struct card_lvstore *s;
	char store[CARD_NAME_MAX + 1], path[PATH_MAX];
	int ret;

	if (!v)
		return card_fail(e, -ENODEV, "%s: No such device", name);
	(void)snprintf(store, sizeof(store), "%.*s", (int)strcspn(v->alias, "/"), v->alias);
	s = find(c, store);
	if (s && !fits(s, size))
		return card_fail(e, -ENOSPC, "size: No space left on device");
	ret = card_volume_resolve(c, v->path, path, e);
	if (ret)
		return ret;
	if (!grows_thick(path, size) || v->above) // the latter is refused
		return card_volume_resize(c, v->name, size / BLOCK, e);
	w = work_new(c, v->name, v->alias, path, resize_step);
	ret = w ? begin(&growing, path, size, true, &w->errand) : -ENOMEM;
	if (ret) {
		free(w);
		return card_fail(e, ret, "%s: %s", v->alias, strerror(-ret));
	}
	w->size = size;
	*out = w;
	return CARD_RPC_LATER;
}

/* ---- deleting one ---- */

/*
 * The volume goes first; its file, which is marked from then on, once nobody would look for it
 * after a restart. A volume that is there has no mark: a start would take that for half made.
 */
static int delete_step(struct card_lvol_work *w, struct card_error *e)
{
	int ret;

	if (!w->gone) {
		ret = card_volume_delete(w->card, w->name, e);
		if (ret == CARD_RPC_LATER && dpu_now_ns() >= w->until_ns)
			ret = card_volume_silent(w->name, e);
		w->gone = !ret;
		if (w->gone && put_mark(w->card, w->path))
			dpu_warn("lvol: no mark", "path=%s err=%s", w->path, strerror(errno));
		return ret;
	}
	if (!w->errand) {
		ret = begin(&removing, w->path, 0, false, &w->errand);
		return ret ? card_fail(e, ret, "%s: %s", w->path, strerror(-ret)) : CARD_RPC_LATER;
	}
	if (!card_errand_back(w->errand, &ret))
		return CARD_RPC_LATER;
	w->errand = NULL;
	w->gone = false;
	return ret ? card_fail(e, ret, "%s: %s", w->path, strerror(-ret)) : 0;
}

int card_lvol_delete(
	struct card *c, const char *name, struct card_lvol_work **out, struct card_error *e)
{
	const struct card_volume *v = card_volume_find_alias(c, name);
	struct card_lvol_work *w;
	char path[PATH_MAX];
	int ret;

	if (!v)
		return card_fail(e, -ENODEV, "%s: No such device", name);
	ret = card_volume_resolve(c, v->path, path, e);
	if (ret)
		return ret;
	w = work_new(c, v->name, v->alias, path, delete_step);
	if (!w)
		return card_fail(e, -ENOMEM, "out of memory");
	w->until_ns = dpu_now_ns() + CARD_DRAIN_MS * 1000000ull;
	*out = w;
	return CARD_RPC_LATER;
}

/* ---- what a card that died has left ---- */

static void sweep_file(struct card *c, const struct card_lvstore *s, const char *uuid)
{
	char path[PATH_MAX];
	struct card_error e;

	if (file_of(c, s, uuid, path, &e) || !is_marked(c, path))
		return;
	if (card_volume_find(c, uuid) || is_stored(c, uuid)) {
		take_mark(path);
		return;
	}
	dpu_warn("lvol: what nobody knows of is removed", "path=%s", path);
	remove_later(path);
}

void card_lvols_sweep(struct card *c)
{
	const size_t len = CARD_UUID_TEXT - 1;
	struct card_lvstore *s;
	const struct dirent *d;
	uint8_t id[16];

	TAILQ_FOREACH (s, &c->inv->lvstores, link) {
		DIR *dir = opendir(s->path);

		while (dir && (d = readdir(dir)) != NULL) {
			char uuid[CARD_UUID_TEXT];

			if (strlen(d->d_name) != len + strlen(MARK) ||
				strcmp(d->d_name + len, MARK) != 0)
				continue;
			memcpy(uuid, d->d_name, len);
			uuid[len] = '\0';
			if (!card_uuid_parse(uuid, id))
				sweep_file(c, s, uuid);
		}
		if (dir)
			closedir(dir);
	}
}
