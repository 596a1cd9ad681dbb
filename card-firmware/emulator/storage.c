// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes that one card has of another, as calls of both configurations: a subsystem per export at
 * as many addresses as it has paths; a controller per remote volume, and its key and cipher.
 */
#include "emu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "hex.h"
#include "nof_key.h"
#include "text.h"

#define PORT 4420u // of the first path
#define KEEP_ALIVE_MS 3000 // long for a busy machine, short for who waits for a dead path
#define KEK_LEN 32u

/*
 * An address of this card's own on the loopback: other runs on this machine have others, from
 * their process number.
 */
static void address(const struct emu *e, size_t card, char *out, size_t size)
{
	unsigned run = (unsigned)e->pid;

	emu_text(out, size, "127.%u.%u.%u", 1 + (run >> 8) % 126, run & 0xff,
		(unsigned)card % 254 + 1);
}

static void nqn(const struct emu_end *export, char *out, size_t size)
{
	emu_text(out, size, "nqn.2026-11.org.outboard.emulator:card%zu.export%zu", export->card,
		export->item);
}

static void uuid(const struct emu_end *export, char *out, size_t size)
{
	emu_text(out, size, "00000000-0000-8000-8000-%04x%08x", (unsigned)export->card,
		(unsigned)export->item);
}

static int add_export(struct emu_card *c, size_t idx, json_t *calls)
{
	const struct emu_export *x = &c->conf->exports[idx];
	const struct emu_end at = { c->idx, idx, true };
	char name[EMU_TEXT_SIZE], addr[64], id[64], listener[96];
	int ret;

	nqn(&at, name, sizeof(name));
	uuid(&at, id, sizeof(id));
	address(c->emu, c->idx, addr, sizeof(addr));
	ret = emu_call_add(calls, "nvmf_create_subsystem",
		json_pack("{s:s, s:b}", "nqn", name, "allow_any_host", 1));
	if (!ret)
		ret = emu_call_add(calls, "nvmf_subsystem_add_ns",
			json_pack("{s:s, s:s, s:i, s:s}", "nqn", name, "bdev_name", x->volume,
				"nsid", 1, "uuid", id));
	for (unsigned i = 0; i < x->paths && !ret; i++) {
		emu_text(listener, sizeof(listener), "%s:%u", addr,
			emu_export_port(c->conf, idx, i));
		ret = emu_call_add(calls, "nvmf_subsystem_add_listener",
			json_pack("{s:s, s:s}", "nqn", name, "listener", listener));
	}
	return ret;
}

unsigned emu_export_port(const struct emu_card_conf *conf, size_t idx, unsigned path)
{
	unsigned port = PORT + path;

	for (size_t i = 0; i < idx; i++)
		port += (unsigned)conf->exports[i].paths;
	return port;
}

int emu_exports_add(struct emu_card *c, json_t *calls)
{
	int ret = 0;

	for (size_t i = 0; i < c->conf->n_exports && !ret; i++)
		ret = add_export(c, i, calls);
	return ret;
}

/* ---- keys ---- */

bool emu_card_has_key(const struct emu_card *c)
{
	for (size_t i = 0; i < c->conf->n_volumes; i++)
		if (c->conf->volumes[i].encrypted)
			return true;
	return false;
}

void emu_card_key_path(const struct emu_card *c, char *out, size_t size)
{
	emu_path(c->emu, out, size, "%s/kek", c->conf->name);
}

/* The card's key-encryption key, made once. */
static int kek_make(const char *path)
{
	unsigned char key[KEK_LEN];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), ret = 0;

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key) ||
		write(fd, key, sizeof(key)) != (ssize_t)sizeof(key))
		ret = -EIO;
	explicit_bzero(key, sizeof(key));
	close(fd);
	return ret;
}

/* A new key for this volume, as the configuration has it: wrapped, in hex digits. */
static int wrapped_key(struct emu_card *c, const char *name, char out[2 * NOF_WRAPPED_LEN + 1])
{
	struct nof_key_provider *p = NULL;
	struct nof_key *key = NULL;
	struct nof_wrapped w;
	char path[EMU_PATH_SIZE], context[EMU_NAME_SIZE + sizeof(NOF_KEY_CONTEXT)];
	int ret;

	emu_text(context, sizeof(context), NOF_KEY_CONTEXT, name);
	emu_card_key_path(c, path, sizeof(path));
	ret = kek_make(path);
	if (!ret)
		ret = nof_key_file_open(path, &p);
	if (!ret)
		ret = nof_key_generate(&key);
	if (!ret)
		ret = nof_key_wrap(p, key, context, &w);
	if (!ret)
		card_hex_text(w.bytes, sizeof(w.bytes), out);
	nof_key_put(key);
	nof_key_provider_close(p);
	return ret;
}

/* ---- remote volumes ---- */

static int add_paths(struct emu_card *c, const struct emu_volume *v, json_t *calls)
{
	const struct emu_card_conf *far = &c->emu->topo->cards[v->from.card];
	const struct emu_export *x = &far->exports[v->from.item];
	const struct emu_volume *of = &far->volumes[x->item];
	char addr[64], name[EMU_TEXT_SIZE], id[64], port[16], known[160];
	int ret = 0;

	address(c->emu, v->from.card, addr, sizeof(addr));
	nqn(&v->from, name, sizeof(name));
	uuid(&v->from, id, sizeof(id));
	// What it is, so that this card need not start after that one.
	emu_text(known, sizeof(known), "1:%llu:%llu:%s:dz%s",
		(unsigned long long)((of->size_mib << 20) / of->block_size),
		(unsigned long long)of->block_size, id, of->kind == EMU_VOL_FILE ? "c" : "");
	for (unsigned i = 0; i < x->paths && !ret; i++) {
		emu_text(port, sizeof(port), "%u", emu_export_port(far, v->from.item, i));
		ret = emu_call_add(calls, "bdev_nvme_attach_controller",
			json_pack("{s:s, s:s, s:s, s:s, s:i, s:[s]}", "name", v->name, "traddr",
				addr, "trsvcid", port, "subnqn", name, "keep_alive_timeout_ms",
				KEEP_ALIVE_MS, "namespaces", known));
	}
	return ret;
}

int emu_remote_add(struct emu_card *c, const struct emu_volume *v, json_t *calls)
{
	char lower[EMU_NAME_SIZE + 8], wrapped[2 * NOF_WRAPPED_LEN + 1];
	int ret = add_paths(c, v, calls);

	if (ret || !v->encrypted)
		return ret;
	emu_text(lower, sizeof(lower), "%sn1", v->name);
	ret = wrapped_key(c, v->name, wrapped);
	if (!ret)
		ret = emu_call_add(calls, "accel_crypto_key_create",
			json_pack("{s:s, s:s}", "name", v->name, "wrapped", wrapped));
	return ret ? ret
		   : emu_call_add(calls, "bdev_crypto_create",
			     json_pack("{s:s, s:s, s:s, s:I}", "name", v->name, "base_bdev_name",
				     lower, "key_name", v->name, "block_size",
				     (json_int_t)v->block_size));
}

void emu_volume_name(const struct emu_card_conf *c, const char *name, char *out, size_t size)
{
	const struct emu_volume *v = c->volumes;

	while (strcmp(v->name, name) != 0) // the topology was checked
		v++;
	emu_text(out, size, "%s%s", name, v->kind == EMU_VOL_REMOTE && !v->encrypted ? "n1" : "");
}
