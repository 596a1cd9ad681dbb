// SPDX-License-Identifier: Apache-2.0
/*
 * Logical volumes: a store is a folder, a volume a file in it whose name is the volume's UUID. How
 * much room there is, and who gets which blocks, is the file system's. Control thread.
 */
#include "device.h"

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
#include "dpu_log.h"
#include "rpc_schema.h"

#define BLOCK 512u

struct card_lvstore {
	TAILQ_ENTRY(card_lvstore) link;
	char name[CARD_NAME_MAX + 1];
	char uuid[CARD_UUID_TEXT];
	char *path; // owned: the folder
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
	if (has_volumes(c, s))
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

/* The file, new, with blocks of its own when `thick`. */
static int make_file(const char *path, uint64_t size, bool thick)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), ret = 0;

	if (fd < 0)
		return -errno;
	if (thick ? fallocate(fd, 0, 0, (off_t)size) : ftruncate(fd, (off_t)size))
		ret = -errno;
	if (!ret && fsync(fd))
		ret = -errno;
	close(fd);
	if (!ret)
		ret = sync_folder(path); // before anybody hears of it
	if (ret)
		(void)unlink(path);
	return ret;
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

int card_lvol_create(struct card *c, const struct card_lvol_conf *conf, struct card_error *e)
{
	struct card_lvstore *s = find(c, conf->store);
	char path[PATH_MAX], alias[2 * CARD_NAME_MAX + 2];
	struct card_volume_conf k = { .name = conf->uuid,
		.kind = CARD_VOL_FILE,
		.block_size = BLOCK,
		.path = path,
		.direct = true,
		.uuid = conf->uuid,
		.alias = alias };
	const char *other;
	int ret;

	if (!s)
		return card_fail(e, -ENODEV, "%s: No such device", conf->store);
	if (!card_name_ok(conf->name))
		return card_fail(e, -EINVAL, "lvol_name: " CARD_NAME_RULE);
	if (!fits(s, conf->size))
		return card_fail(e, -ENOSPC, "size: No space left on device");
	(void)snprintf(alias, sizeof(alias), "%s/%s", s->name, conf->name);
	other = card_lvol_find(c, alias);
	if (other && strcmp(other, conf->uuid) != 0)
		return card_fail(e, -EEXIST, "%s: File exists", alias);
	ret = file_of(c, s, conf->uuid, path, e);
	if (ret)
		return ret;
	if (conf->size)
		ret = make_file(path, conf->size, !conf->thin);
	if (ret == -EFBIG)
		ret = -ENOSPC;
	if (ret) // as SPDK says it: its clients look for these words
		return card_fail(e, ret, "%s: %s", alias, strerror(-ret));
	ret = card_volume_create(c, &k, e);
	if (ret && conf->size)
		(void)unlink(path);
	return ret;
}

bool card_lvol_has_file(struct card *c, const char *store, const char *uuid)
{
	struct card_lvstore *s = find(c, store);
	char path[PATH_MAX];
	struct card_error e;

	return s && !file_of(c, s, uuid, path, &e) && !access(path, F_OK);
}

const char *card_lvol_find(struct card *c, const char *name)
{
	const struct card_volume *v;

	TAILQ_FOREACH (v, &c->inv->volumes, link)
		if (v->alias && (!strcmp(v->alias, name) || !strcmp(v->name, name)))
			return v->name;
	return NULL;
}

/* What a thick one grows by is taken beforehand, as all of it was. */
static int take_blocks(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), ret = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st);
	if (!ret && st.st_blocks * 512 >= st.st_size && (uint64_t)st.st_size < size)
		ret = fallocate(fd, 0, 0, (off_t)size);
	if (ret)
		ret = -errno;
	close(fd);
	return ret;
}

int card_lvol_resize(struct card *c, const char *name, uint64_t size, struct card_error *e)
{
	const char *uuid = card_lvol_find(c, name);
	struct card_volume *v = uuid ? card_volume_find(c, uuid) : NULL;
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
	ret = take_blocks(path, size);
	if (ret)
		return card_fail(e, ret, "%s: %s", v->alias, strerror(-ret));
	return card_volume_resize(c, v->name, size / BLOCK, e);
}

int card_lvol_delete(struct card *c, const char *name, struct card_error *e)
{
	const char *uuid = card_lvol_find(c, name);
	struct card_volume *v = uuid ? card_volume_find(c, uuid) : NULL;
	char path[PATH_MAX];
	int ret;

	if (!v)
		return card_fail(e, -ENODEV, "%s: No such device", name);
	ret = card_volume_resolve(c, v->path, path, e);
	if (!ret)
		ret = card_volume_delete(c, v->name, e);
	if (!ret && unlink(path) && errno != ENOENT)
		ret = card_fail(e, -errno, "%s: %s", path, strerror(errno));
	return ret;
}
