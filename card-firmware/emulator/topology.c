// SPDX-License-Identifier: Apache-2.0
/* Reads a topology file into structs, by tables of fields, and resolves its references. */
#include "topology.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "hypervisor.h"
#include "text.h"

#define FILE_SIZE_MAX (1u << 20)

struct reader {
	const char *file;
	char *text; // owned
	unsigned errors;
};

enum field_type { NAME, TEXT, MAC, UINT, BOOL, CHOICE, LIST };

struct field {
	const char *key;
	enum field_type type;
	bool required;
	size_t off; // in the struct that is filled
	uint64_t min, max, def; // UINT, BOOL
	const char *const *choices; // CHOICE: NULL-terminated, the value is the index
};

__attribute__((format(printf, 3, 4))) static void fail(
	struct reader *r, const char *path, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%u: %s: ", r->file, emu_json_line(r->text, path),
		*path ? path : "topology");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	r->errors++;
}

static bool name_ok(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len >= EMU_NAME_SIZE || !isalnum((unsigned char)s[0]))
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
	       len;
}

static bool mac_ok(const char *s)
{
	if (strlen(s) != 17)
		return false;
	for (unsigned i = 0; i < 17; i++)
		if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char)s[i]))
			return false;
	return true;
}

static void set_default(const struct field *f, void *out)
{
	if (f->type == UINT || f->type == CHOICE)
		memcpy((char *)out + f->off, &f->def, sizeof(f->def));
	else if (f->type == BOOL)
		*((bool *)((char *)out + f->off)) = f->def != 0;
}

static void set_text(struct reader *r, const char *path, const struct field *f, json_t *v, char *to)
{
	const char *s = json_string_value(v);

	if (!s)
		fail(r, path, "must be a string");
	else if (f->type == NAME && !name_ok(s))
		fail(r, path, "must be 1 to %d of A-Z a-z 0-9 _ . -", EMU_NAME_SIZE - 1);
	else if (f->type == MAC && !mac_ok(s))
		fail(r, path, "must look like 02:00:00:00:00:01");
	else if (strlen(s) >= EMU_TEXT_SIZE)
		fail(r, path, "longer than %d characters", EMU_TEXT_SIZE - 1);
	else
		memcpy(to, s, strlen(s) + 1);
}

static void set_choice(
	struct reader *r, const char *path, const struct field *f, json_t *v, void *to)
{
	const char *s = json_string_value(v);
	char known[80]; // all of the longest list
	size_t n = 0;

	for (uint64_t i = 0; s && f->choices[i]; i++)
		if (!strcmp(f->choices[i], s)) {
			memcpy(to, &i, sizeof(i));
			return;
		}
	for (uint64_t i = 0; f->choices[i]; i++)
		n += (size_t)snprintf(
			known + n, sizeof(known) - n, "%s%s", i ? ", " : "", f->choices[i]);
	fail(r, path, "unknown; known are %s", known);
}

static void set(struct reader *r, const char *path, const struct field *f, json_t *v, void *out)
{
	void *to = (char *)out + f->off;
	uint64_t n;

	switch (f->type) {
	case NAME:
	case TEXT:
	case MAC:
		set_text(r, path, f, v, to);
		break;
	case CHOICE:
		set_choice(r, path, f, v, to);
		break;
	case UINT:
		n = json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
		if (!json_is_integer(v) || n < f->min || n > f->max)
			fail(r, path, "must be a number from %llu to %llu",
				(unsigned long long)f->min, (unsigned long long)f->max);
		else
			memcpy(to, &n, sizeof(n));
		break;
	case BOOL:
		if (!json_is_boolean(v))
			fail(r, path, "must be true or false");
		else
			*(bool *)to = json_is_true(v);
		break;
	case LIST:
		if (!json_is_array(v) || json_array_size(v) > EMU_LIST_MAX)
			fail(r, path, "must be a list of at most %d", EMU_LIST_MAX);
		else
			memcpy(to, &v, sizeof(v));
		break;
	}
}

static void join(char *out, size_t size, const char *path, const char *key)
{
	emu_text(out, size, "%s%s%s", path, *path ? "." : "", key);
}

/* Fill `out` from object `o` by the table; `n` fields. */
static void load_fields(struct reader *r, const char *path, json_t *o, const struct field *fields,
	size_t n, void *out)
{
	char where[EMU_TEXT_SIZE];
	const char *key;
	json_t *v;

	for (size_t i = 0; i < n; i++)
		set_default(&fields[i], out);
	if (!json_is_object(o)) {
		fail(r, path, "must be an object");
		return;
	}
	json_object_foreach (o, key, v) {
		size_t i = 0;

		join(where, sizeof(where), path, key);
		while (i < n && strcmp(fields[i].key, key) != 0)
			i++;
		if (i == n)
			fail(r, where, "unknown key");
		else
			set(r, where, &fields[i], v, out);
	}
	for (size_t i = 0; i < n; i++)
		if (fields[i].required && !json_object_get(o, fields[i].key)) {
			join(where, sizeof(where), path, fields[i].key);
			fail(r, where, "missing");
		}
}

#define N_FIELDS(t) (sizeof(t) / sizeof((t)[0]))

/* Load a list of objects into a new array. 0 or -ENOMEM. */
static int load_list(struct reader *r, const char *path, json_t *list, const struct field *fields,
	size_t n_fields, size_t size, void *out, size_t *n_out)
{
	size_t n = json_array_size(list);
	char *items = dpu_calloc(n ? n : 1, size);
	char where[EMU_TEXT_SIZE];

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		emu_text(where, sizeof(where), "%s[%zu]", path, i);
		load_fields(r, where, json_array_get(list, i), fields, n_fields, items + i * size);
		for (size_t k = 0; k < i && fields[0].type == NAME; k++)
			if (!strcmp(items + k * size, items + i * size))
				fail(r, where, "the name \"%s\" is taken", items + i * size);
	}
	memcpy(out, &items, sizeof(items));
	*n_out = n;
	return 0;
}

static const char *const volume_kinds[] = { "file", "ram", "null", "remote", NULL };
static const char *const function_kinds[] = { "net", "blk", NULL };
static const char *const link_kinds[] = { "auto", "memif", "veth", NULL };

#define V(m) offsetof(struct emu_volume, m)
static const struct field volume_fields[] = {
	{ "name", NAME, true, V(name) },
	{ "kind", CHOICE, true, V(kind), .choices = volume_kinds },
	{ "size_mib", UINT, false, V(size_mib), 1, 1 << 20 },
	{ "block_size", UINT, false, V(block_size), 512, 4096, 512 },
	{ "from", TEXT, false, V(from_text) },
	{ "encrypted", BOOL, false, V(encrypted), .def = 0 },
};

#define E(m) offsetof(struct emu_export, m)
static const struct field export_fields[] = {
	{ "volume", NAME, true, E(volume) },
	{ "paths", UINT, false, E(paths), 1, 8, 1 },
};

#define F(m) offsetof(struct emu_function, m)
static const struct field function_fields[] = {
	{ "name", NAME, true, F(name) },
	{ "kind", CHOICE, true, F(kind), .choices = function_kinds },
	{ "queues", UINT, false, F(queues), 1, 64, 1 },
	{ "mtu", UINT, false, F(mtu), 68, 65535, 1500 },
	{ "mac", MAC, false, F(mac) },
	{ "volume", NAME, false, F(volume) },
	{ "client", BOOL, false, F(client), .def = 0 },
	{ "host_notifier", BOOL, false, F(host_notifier), .def = 0 },
	{ "gro", BOOL, false, F(gro), .def = 1 },
};

#define U(m) offsetof(struct emu_uplink, m)
static const struct field uplink_fields[] = {
	{ "name", NAME, true, U(name) },
	{ "queues", UINT, false, U(queues), 1, 64, 1 },
	{ "mtu", UINT, false, U(mtu), 68, 65535, 0 },
	{ "devargs", TEXT, false, U(devargs) },
};

struct card_lists {
	struct emu_card_conf conf;
	json_t *volumes, *functions, *uplinks, *exports, *calls, *args; // borrowed
};

#define C(m) offsetof(struct card_lists, m)
static const struct field card_fields[] = {
	{ "name", NAME, true, C(conf.name) },
	{ "cores", TEXT, false, C(conf.cores) },
	{ "workers", UINT, false, C(conf.workers), 1, 64, 1 },
	{ "mem_mib", UINT, false, C(conf.mem_mib), 64, 1 << 20, 256 },
	{ "restart", BOOL, false, C(conf.restart), .def = 1 },
	{ "volumes", LIST, false, C(volumes) },
	{ "functions", LIST, false, C(functions) },
	{ "uplinks", LIST, false, C(uplinks) },
	{ "exports", LIST, false, C(exports) },
	{ "calls", LIST, false, C(calls) },
	{ "args", LIST, false, C(args) },
};

struct link_lists {
	struct emu_link conf;
	json_t *ends; // borrowed
};

#define L(m) offsetof(struct link_lists, m)
static const struct field link_fields[] = {
	{ "kind", CHOICE, false, L(conf.kind), .choices = link_kinds },
	{ "ends", LIST, true, L(ends) },
};

struct guest_texts {
	struct emu_guest_conf conf;
	char nic[EMU_TEXT_SIZE], disk[EMU_TEXT_SIZE];
};

#define G(m) offsetof(struct guest_texts, m)
static const struct field guest_fields[] = {
	{ "name", NAME, true, G(conf.name) },
	{ "mem_mib", UINT, false, G(conf.mem_mib), 96, 1 << 20, 256 },
	{ "cpus", UINT, false, G(conf.cpus), 1, 64, 1 },
	{ "ip", TEXT, false, G(conf.ip) },
	{ "append", TEXT, false, G(conf.append) },
	{ "nic", TEXT, false, G(nic) },
	{ "nic_options", TEXT, false, G(conf.nic_options) },
	{ "disk", TEXT, false, G(disk) },
	{ "disk_options", TEXT, false, G(conf.disk_options) },
	{ "restart", BOOL, false, G(conf.restart), .def = 0 },
	{ "iommu", BOOL, false, G(conf.iommu), .def = 0 },
	{ "hypervisor", CHOICE, false, G(conf.hypervisor), .choices = emu_hypervisor_names },
};

struct top {
	char name[EMU_NAME_SIZE];
	char description[EMU_TEXT_SIZE];
	json_t *cards, *links, *guests; // borrowed
};

#define T(m) offsetof(struct top, m)
static const struct field top_fields[] = {
	{ "name", NAME, true, T(name) },
	{ "description", TEXT, false, T(description) },
	{ "cards", LIST, true, T(cards) },
	{ "links", LIST, false, T(links) },
	{ "guests", LIST, false, T(guests) },
};

static void check_functions(
	struct reader *r, const char *path, size_t card, struct emu_card_conf *c)
{
	char where[EMU_TEXT_SIZE];

	for (size_t i = 0; i < c->n_functions; i++) {
		struct emu_function *f = &c->functions[i];
		size_t v = 0;

		emu_text(where, sizeof(where), "%s.functions[%zu]", path, i);
		if (f->kind == EMU_FN_NET) {
			if (f->volume[0])
				fail(r, where, "a NIC has no volume");
			if (!f->mac[0])
				emu_text(f->mac, sizeof(f->mac), "02:0b:00:00:%02x:%02x",
					(unsigned)(card + 1) & 0xff, (unsigned)(i + 1) & 0xff);
			continue;
		}
		while (v < c->n_volumes && strcmp(c->volumes[v].name, f->volume) != 0)
			v++;
		if (v == c->n_volumes)
			fail(r, where, "no volume \"%s\" on this card", f->volume);
	}
}

static void check_volumes(struct reader *r, const char *path, struct emu_card_conf *c)
{
	char where[EMU_TEXT_SIZE];

	for (size_t i = 0; i < c->n_volumes; i++) {
		const struct emu_volume *v = &c->volumes[i];
		bool remote = v->kind == EMU_VOL_REMOTE;

		emu_text(where, sizeof(where), "%s.volumes[%zu]", path, i);
		if (!remote && !v->size_mib)
			fail(r, where, "size_mib: missing");
		if (remote && v->size_mib)
			fail(r, where, "size_mib: a remote volume is as large as what it is from");
		if (remote != !!v->from_text[0])
			fail(r, where, remote ? "from: missing" : "from: for a remote volume");
		if (v->encrypted && !remote)
			fail(r, where, "encrypted: for a remote volume");
	}
	for (size_t i = 0; i < c->n_exports; i++) {
		struct emu_export *x = &c->exports[i];

		emu_text(where, sizeof(where), "%s.exports[%zu]", path, i);
		while (x->item < c->n_volumes && strcmp(c->volumes[x->item].name, x->volume) != 0)
			x->item++;
		if (x->item == c->n_volumes)
			fail(r, where, "no volume \"%s\" on this card", x->volume);
		else if (c->volumes[x->item].kind == EMU_VOL_REMOTE)
			fail(r, where, "\"%s\" is remote itself", x->volume);
	}
}

static int load_card(struct reader *r, const char *path, size_t idx, struct card_lists *l)
{
	struct emu_card_conf *c = &l->conf;
	char where[EMU_TEXT_SIZE];
	int ret;

	join(where, sizeof(where), path, "volumes");
	ret = load_list(r, where, l->volumes, volume_fields, N_FIELDS(volume_fields),
		sizeof(struct emu_volume), &c->volumes, &c->n_volumes);
	if (ret)
		return ret;
	join(where, sizeof(where), path, "functions");
	ret = load_list(r, where, l->functions, function_fields, N_FIELDS(function_fields),
		sizeof(struct emu_function), &c->functions, &c->n_functions);
	if (ret)
		return ret;
	join(where, sizeof(where), path, "uplinks");
	ret = load_list(r, where, l->uplinks, uplink_fields, N_FIELDS(uplink_fields),
		sizeof(struct emu_uplink), &c->uplinks, &c->n_uplinks);
	if (ret)
		return ret;
	join(where, sizeof(where), path, "exports");
	ret = load_list(r, where, l->exports, export_fields, N_FIELDS(export_fields),
		sizeof(struct emu_export), &c->exports, &c->n_exports);
	if (ret)
		return ret;
	for (size_t i = 0; i < json_array_size(l->args); i++)
		if (!json_is_string(json_array_get(l->args, i))) {
			join(where, sizeof(where), path, "args");
			fail(r, where, "must hold strings");
			break;
		}
	c->calls = l->calls;
	c->args = l->args;
	check_volumes(r, path, c);
	check_functions(r, path, idx, c);
	return 0;
}

static int load_cards(struct reader *r, json_t *list, struct emu_topology *t)
{
	struct card_lists *cards = NULL;
	char where[EMU_TEXT_SIZE];
	size_t n = 0;
	int ret;

	ret = load_list(
		r, "cards", list, card_fields, N_FIELDS(card_fields), sizeof(*cards), &cards, &n);
	if (ret)
		return ret;
	t->cards = dpu_calloc(n ? n : 1, sizeof(*t->cards));
	if (!t->cards)
		ret = -ENOMEM;
	for (size_t i = 0; i < n && !ret; i++) {
		emu_text(where, sizeof(where), "cards[%zu]", i);
		ret = load_card(r, where, i, &cards[i]);
		t->cards[i] = cards[i].conf;
		t->n_cards = i + 1;
	}
	free(cards);
	return ret;
}

enum end_kind { END_NIC, END_DISK, END_UPLINK, END_EXPORT };

static struct emu_end find_on_card(
	const struct emu_topology *t, size_t card, const char *name, enum end_kind kind)
{
	const struct emu_card_conf *c = &t->cards[card];
	struct emu_end end = { 0 };

	for (size_t k = 0; kind == END_UPLINK && k < c->n_uplinks; k++)
		if (!strcmp(c->uplinks[k].name, name))
			end = (struct emu_end){ card, k, true };
	for (size_t k = 0; kind == END_EXPORT && k < c->n_exports; k++)
		if (!strcmp(c->exports[k].volume, name))
			end = (struct emu_end){ card, k, true };
	for (size_t k = 0; kind <= END_DISK && k < c->n_functions; k++)
		if (c->functions[k].kind == (kind == END_NIC ? EMU_FN_NET : EMU_FN_BLK) &&
			!strcmp(c->functions[k].name, name))
			end = (struct emu_end){ card, k, true };
	return end;
}

/* "card/item": item is of the wanted kind. */
static struct emu_end find_end(struct reader *r, const char *path, const struct emu_topology *t,
	const char *text, enum end_kind kind)
{
	static const char *const kinds[] = { "NIC function", "disk function", "uplink", "export" };
	const char *slash = strchr(text, '/');
	struct emu_end end = { 0 };

	for (size_t i = 0; slash && i < t->n_cards; i++) {
		const struct emu_card_conf *c = &t->cards[i];
		size_t len = (size_t)(slash - text);

		if (strlen(c->name) == len && !memcmp(c->name, text, len))
			end = find_on_card(t, i, slash + 1, kind);
	}
	if (!end.set)
		fail(r, path, "no %s \"%s\" (card/name)", kinds[kind], text);
	return end;
}

/* Remote volumes find what they are volumes of. */
static void join_volumes(struct reader *r, struct emu_topology *t)
{
	char where[EMU_TEXT_SIZE];

	for (size_t i = 0; i < t->n_cards; i++)
		for (size_t k = 0; k < t->cards[i].n_volumes; k++) {
			struct emu_volume *v = &t->cards[i].volumes[k];

			if (v->kind != EMU_VOL_REMOTE || !v->from_text[0])
				continue;
			emu_text(where, sizeof(where), "cards[%zu].volumes[%zu].from", i, k);
			v->from = find_end(r, where, t, v->from_text, END_EXPORT);
			if (v->from.set && v->from.card == i)
				fail(r, where, "is on this card itself");
		}
}

static int load_links(struct reader *r, json_t *list, struct emu_topology *t)
{
	struct link_lists *links = NULL;
	char where[EMU_TEXT_SIZE];
	size_t n = 0;
	int ret;

	ret = load_list(
		r, "links", list, link_fields, N_FIELDS(link_fields), sizeof(*links), &links, &n);
	if (ret)
		return ret;
	t->links = dpu_calloc(n ? n : 1, sizeof(*t->links));
	if (!t->links) {
		free(links);
		return -ENOMEM;
	}
	t->n_links = n;
	for (size_t i = 0; i < n; i++) {
		emu_text(where, sizeof(where), "links[%zu].ends", i);
		t->links[i] = links[i].conf;
		if (json_array_size(links[i].ends) != 2) {
			fail(r, where, "must name two uplinks");
			continue;
		}
		for (size_t k = 0; k < 2; k++) {
			const char *s = json_string_value(json_array_get(links[i].ends, k));
			struct emu_end e = find_end(r, where, t, s ? s : "", END_UPLINK);
			struct emu_uplink *u;

			t->links[i].ends[k] = e;
			if (!e.set)
				continue;
			u = &t->cards[e.card].uplinks[e.item];
			if (u->linked || u->devargs[0])
				fail(r, where, "\"%s\" has a link or devargs already", s);
			u->linked = true;
		}
	}
	free(links);
	for (size_t i = 0; i < t->n_cards; i++)
		for (size_t k = 0; k < t->cards[i].n_uplinks; k++) {
			struct emu_uplink *u = &t->cards[i].uplinks[k];

			emu_text(where, sizeof(where), "cards[%zu].uplinks[%zu]", i, k);
			if (!u->linked && !u->devargs[0])
				fail(r, where, "needs devargs or a link");
		}
	return 0;
}

static void load_attachment(struct reader *r, const char *path, struct emu_topology *t,
	const char *text, enum end_kind kind, struct emu_end *out)
{
	struct emu_function *f;

	if (!text[0])
		return;
	*out = find_end(r, path, t, text, kind);
	if (!out->set)
		return;
	f = &t->cards[out->card].functions[out->item];
	if (f->used)
		fail(r, path, "\"%s\" has a guest already", text);
	f->used = true;
}

static void check_hypervisor(
	struct reader *r, const char *path, const struct emu_topology *t, struct emu_guest_conf *g)
{
	const char *why = emu_qemu_only(t, g);
	char where[EMU_TEXT_SIZE];

	if (g->hypervisor != EMU_HV_HOST || !why)
		return;
	join(where, sizeof(where), path, "hypervisor");
	fail(r, where, "the guest %s, which host-hv does not run", why);
}

static int load_guests(struct reader *r, json_t *list, struct emu_topology *t)
{
	struct guest_texts *guests = NULL;
	char where[EMU_TEXT_SIZE];
	size_t n = 0;
	int ret;

	ret = load_list(r, "guests", list, guest_fields, N_FIELDS(guest_fields), sizeof(*guests),
		&guests, &n);
	if (ret)
		return ret;
	t->guests = dpu_calloc(n ? n : 1, sizeof(*t->guests));
	if (!t->guests) {
		free(guests);
		return -ENOMEM;
	}
	t->n_guests = n;
	for (size_t i = 0; i < n; i++) {
		struct emu_guest_conf *g = &t->guests[i];

		*g = guests[i].conf;
		emu_text(where, sizeof(where), "guests[%zu].nic", i);
		load_attachment(r, where, t, guests[i].nic, END_NIC, &g->nic);
		emu_text(where, sizeof(where), "guests[%zu].disk", i);
		load_attachment(r, where, t, guests[i].disk, END_DISK, &g->disk);
		for (size_t k = 0; k < t->n_cards; k++)
			if (!strcmp(t->cards[k].name, g->name)) {
				emu_text(where, sizeof(where), "guests[%zu].name", i);
				fail(r, where, "a card has this name");
			}
		emu_text(where, sizeof(where), "guests[%zu]", i);
		check_hypervisor(r, where, t, g);
	}
	free(guests);
	return 0;
}

static int read_text(const char *path, char **out)
{
	FILE *f = fopen(path, "re");
	size_t n;
	int ret = 0;

	if (!f)
		return -errno;
	*out = dpu_calloc(1, FILE_SIZE_MAX + 1);
	if (!*out) {
		fclose(f);
		return -ENOMEM;
	}
	n = fread(*out, 1, FILE_SIZE_MAX + 1, f);
	if (ferror(f))
		ret = -EIO;
	else if (n > FILE_SIZE_MAX)
		ret = -EFBIG;
	fclose(f);
	return ret;
}

static int load(struct reader *r, struct emu_topology *t)
{
	struct top top = { 0 };
	json_error_t err;
	int ret;

	t->root = json_loads(r->text, JSON_REJECT_DUPLICATES, &err);
	if (!t->root) {
		fprintf(stderr, "%s:%d: %s\n", r->file, err.line, err.text);
		return -EINVAL;
	}
	load_fields(r, "", t->root, top_fields, N_FIELDS(top_fields), &top);
	memcpy(t->name, top.name, sizeof(t->name));
	ret = load_cards(r, top.cards, t);
	if (!ret)
		join_volumes(r, t);
	if (!ret)
		ret = load_links(r, top.links, t);
	if (!ret)
		ret = load_guests(r, top.guests, t);
	return ret ? ret : r->errors ? -EINVAL : 0;
}

int emu_topology_load(const char *path, struct emu_topology **out)
{
	struct reader r = { .file = path };
	struct emu_topology *t;
	int ret = read_text(path, &r.text);

	if (ret) {
		fprintf(stderr, "%s: %s\n", path, strerror(-ret));
		free(r.text);
		return ret;
	}
	t = dpu_calloc(1, sizeof(*t));
	ret = t ? load(&r, t) : -ENOMEM;
	free(r.text);
	if (ret) {
		emu_topology_free(t);
		return ret;
	}
	*out = t;
	return 0;
}

void emu_topology_free(struct emu_topology *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_cards; i++) {
		free(t->cards[i].volumes);
		free(t->cards[i].functions);
		free(t->cards[i].uplinks);
		free(t->cards[i].exports);
	}
	free(t->cards);
	free(t->links);
	free(t->guests);
	json_decref(t->root);
	free(t);
}
