// SPDX-License-Identifier: Apache-2.0
/* The inventory on a real EAL, real workers, switch and volumes; no front-end attached. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card_env.h"
#include "dpu_alloc.h"
#include "dpu_log.h"

static struct card card;
static struct card_error err;
static char root[64], sockets[128], volumes[128];

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/outboard-device-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(sockets, sizeof(sockets), "%s/s", root);
	snprintf(volumes, sizeof(volumes), "%s/v", root);
	if (mkdir(sockets, 0700) < 0 || mkdir(volumes, 0700) < 0)
		return -1;
	dpu_log_level_set(DPU_LOG_ERR);
	card.opt = (struct card_options){ .name = "test",
		.mem_mib = 64,
		.mbufs = 2047,
		.socket_dir = sockets,
		.volume_dir = volumes };
	return card_env_open(&card);
}

static int teardown(void **state)
{
	char cmd[160];

	(void)state;
	card_env_close(&card);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd) == 0 ? 0 : -1;
}

/* JR-06: names become paths, log lines and terminal output. */
static const struct name_case {
	const char *name, *text;
	bool ok;
} name_cases[] = {
	{ "letters", "abc", true },
	{ "every kind", "A-z_0.9", true },
	{ "63 long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true },
	{ "64 long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	{ "none", NULL, false },
	{ "empty", "", false },
	{ "dot", ".", false },
	{ "hidden", ".a", false },
	{ "option", "-a", false },
	{ "JR-06 path", "../../etc/cron.d/x", false },
	{ "JR-06 slash", "a/b", false },
	{ "JR-06 newline", "a\nb", false },
	{ "JR-06 escape", "a\033[31m", false },
	{ "space", "a b", false },
	{ "not ASCII", "\303\244", false },
};

static void name(void **state)
{
	const struct name_case *t = *state;

	assert_int_equal(card_name_ok(t->text), t->ok);
}

static const struct volume_case {
	const char *name;
	struct card_volume_conf conf;
	int ret;
} volume_cases[] = {
	{ "null", { "v", CARD_VOL_NULL, 512, 8, NULL, false, false }, 0 },
	{ "ram", { "v", CARD_VOL_RAM, 4096, 8, NULL, false, false }, 0 },
	{ "file", { "v", CARD_VOL_FILE, 512, 8, "f.img", false, false }, 0 },
	{ "JR-06 name", { "../v", CARD_VOL_NULL, 512, 8, NULL, false, false }, -EINVAL },
	{ "no blocks", { "v", CARD_VOL_NULL, 512, 0, NULL, false, false }, -EINVAL },
	{ "block size", { "v", CARD_VOL_NULL, 1024, 8, NULL, false, false }, -EINVAL },
	{ "size wraps", { "v", CARD_VOL_NULL, 4096, UINT64_MAX / 4096 + 2, NULL, false, false },
		-EINVAL },
	{ "no path", { "v", CARD_VOL_FILE, 512, 8, NULL, false, false }, -EINVAL },
	{ "missing file", { "v", CARD_VOL_FILE, 512, 0, "none.img", false, false }, -ENOENT },
	{ "above the volume directory",
		{ "v", CARD_VOL_FILE, 512, 8, "../outside.img", false, false }, -EACCES },
	{ "absolute path elsewhere", { "v", CARD_VOL_FILE, 512, 0, "/etc/passwd", true, false },
		-EACCES },
	{ "through a directory link", { "v", CARD_VOL_FILE, 512, 0, "out/passwd", true, false },
		-EACCES },
	{ "a link itself", { "v", CARD_VOL_FILE, 512, 0, "passwd", true, false }, -ELOOP },
	{ "a directory", { "v", CARD_VOL_FILE, 512, 0, ".", true, false }, -EINVAL },
	{ "up and down", { "v", CARD_VOL_FILE, 512, 8, "../v/g.img", false, false }, 0 },
};

static void volume(void **state)
{
	const struct volume_case *t = *state;
	char link[192];

	snprintf(link, sizeof(link), "%s/out", volumes);
	(void)!symlink("/etc", link);
	snprintf(link, sizeof(link), "%s/passwd", volumes);
	(void)!symlink("/etc/passwd", link);
	err.text[0] = 0;
	assert_int_equal(card_volume_create(&card, &t->conf, &err), t->ret);
	if (t->ret) {
		assert_true(err.text[0] != 0);
		assert_int_equal(card_volume_delete(&card, "v", &err), -ENODEV);
	} else {
		assert_int_equal(card_volume_create(&card, &t->conf, &err), 0); // the same: fine
		assert_int_equal(card_volume_delete(&card, "v", &err), 0);
	}
}

static bool see_volume(const struct card_volume_view *v, void *arg)
{
	*(struct card_volume_view *)arg = *v;
	return true;
}

/* An identifier of the operator's own, or one that is the same each time; none twice. */
static void volume_has_a_uuid(void **state)
{
	static const char own[] = "12345678-9abc-4def-8012-3456789ABCDE";
	struct card_volume_conf c = { "v", CARD_VOL_NULL, 512, 8, NULL, false, false, NULL };
	struct card_volume_conf other = { "w", CARD_VOL_NULL, 512, 8, NULL, false, false, own };
	struct card_volume_view view = { 0 };
	char made[CARD_UUID_TEXT];

	(void)state;
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	card_volume_foreach(&card, see_volume, &view);
	assert_int_equal(strlen(view.uuid), CARD_UUID_TEXT - 1);
	assert_int_equal(view.uuid[14], '8'); // version
	assert_non_null(strchr("89ab", view.uuid[19])); // variant
	snprintf(made, sizeof(made), "%s", view.uuid);
	assert_int_equal(card_volume_delete(&card, "v", &err), 0);
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	card_volume_foreach(&card, see_volume, &view);
	assert_string_equal(view.uuid, made);
	c.uuid = made; // said aloud it is the same
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	c.uuid = own;
	assert_int_equal(card_volume_create(&card, &c, &err), -EEXIST);
	assert_int_equal(card_volume_delete(&card, "v", &err), 0);

	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	card_volume_foreach(&card, see_volume, &view);
	assert_string_equal(view.uuid, "12345678-9abc-4def-8012-3456789abcde");
	assert_int_equal(card_volume_create(&card, &other, &err), -EEXIST);
	other.uuid = "12345678-9abc-4def-8012+3456789abcde";
	assert_int_equal(card_volume_create(&card, &other, &err), -EINVAL);
	other.uuid = "12345678";
	assert_int_equal(card_volume_create(&card, &other, &err), -EINVAL);
	assert_int_equal(card_volume_delete(&card, "v", &err), 0);
}

struct names {
	char text[64];
	unsigned stop_after; // so many; 0: never
	unsigned n;
};

static bool note_name(const struct card_volume_view *v, void *arg)
{
	struct names *s = arg;

	s->text[s->n] = v->conf.name[0];
	return ++s->n != s->stop_after;
}

/* One that goes is stepped over, one that comes is visited, and none twice. */
static void visited_in_turns(void **state)
{
	struct card_volume_conf c = { "v", CARD_VOL_NULL, 512, 8, NULL, false, false, NULL };
	struct card_volume_walk w, other;
	struct names s = { "" };
	char name[2] = "a";

	(void)state;
	c.name = name;
	for (; name[0] <= 'e'; name[0]++)
		assert_int_equal(card_volume_create(&card, &c, &err), 0);
	card_volume_walk_begin(&card, &w);
	card_volume_walk_begin(&card, &other);
	assert_true(card_volume_walk(&w, note_name, &s, 0));
	assert_string_equal(s.text, "a");
	assert_int_equal(card_volume_delete(&card, "a", &err), 0); // was visited
	assert_int_equal(card_volume_delete(&card, "b", &err), 0); // would be next, for both
	assert_int_equal(card_volume_delete(&card, "d", &err), 0);
	assert_true(card_volume_walk(&w, note_name, &s, 0));
	assert_string_equal(s.text, "ac");
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	assert_false(card_volume_walk(&w, note_name, &s, UINT64_MAX));
	assert_string_equal(s.text, "acef");
	s = (struct names){ .stop_after = 1 };
	assert_false(card_volume_walk(&other, note_name, &s, UINT64_MAX));
	assert_string_equal(s.text, "c");
	card_volume_walk_end(&card, &other);
	card_volume_walk_end(&card, &w);
	for (name[0] = 'c'; name[0] <= 'f'; name[0]++)
		assert_int_equal(
			card_volume_delete(&card, name, &err), name[0] == 'd' ? -ENODEV : 0);
}

/* The number of blocks is for making the file; the file that is there says how large it is. */
static void file_has_its_own_size(void **state)
{
	struct card_volume_conf c = { "v", CARD_VOL_FILE, 512, 8, "size.img", false, false };

	(void)state;
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	c.num_blocks = 0; // as after a restart
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	assert_int_equal(card_volume_delete(&card, "v", &err), 0);
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	c.num_blocks = 8; // the operator repeats the first call
	assert_int_equal(card_volume_create(&card, &c, &err), 0);
	c.direct = true;
	assert_int_equal(card_volume_create(&card, &c, &err), -EEXIST);
	assert_int_equal(card_volume_delete(&card, "v", &err), 0);
}

static const struct card_volume_conf ram = { "ram", CARD_VOL_RAM, 512, 2048, NULL, false, false };
static const struct card_blk_conf disk = { "disk", "ram", false, true, 2, 0, false };
static const struct card_net_conf nic = { "nic", { 2, 0, 0, 0, 0, 1 }, 2, 1500, 0, false };

static bool is_socket(const char *file)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", sockets, file);
	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool count_functions(const struct card_function_view *v, void *arg)
{
	unsigned *n = arg;

	assert_non_null(v->socket);
	assert_false(v->dev.connected);
	(*n)++;
	return true;
}

static void disk_holds_its_volume(void **state)
{
	struct card_volume_view view = { 0 };
	struct card_blk_conf other = disk;
	unsigned n = 0;

	(void)state;
	assert_int_equal(card_blk_create(&card, &disk, &err), -ENODEV);
	assert_int_equal(card_volume_create(&card, &ram, &err), 0);
	assert_int_equal(card_blk_create(&card, &disk, &err), 0);
	assert_true(is_socket("disk"));
	assert_int_equal(card_blk_create(&card, &disk, &err), 0); // idempotent
	other.n_queues = 1;
	assert_int_equal(card_blk_create(&card, &other, &err), -EEXIST);
	card_function_foreach(&card, count_functions, &n);
	assert_int_equal(n, 1);
	card_volume_foreach(&card, see_volume, &view);
	assert_int_equal(view.users, 1);

	assert_int_equal(card_volume_delete(&card, "ram", &err), -EBUSY);
	assert_int_equal(card_volume_resize(&card, "ram", 4096, &err), 0);
	card_volume_foreach(&card, see_volume, &view);
	assert_int_equal(view.info.size, 4096 * 512);
	assert_int_equal(
		card_volume_wear_set(&card, "ram", &(struct vol_wear){ 2, 3, 11 }, &err), 0);
	card_volume_foreach(&card, see_volume, &view);
	assert_int_equal(view.info.wear.life_b, 11);
	assert_int_equal(
		card_volume_wear_set(&card, "ram", &(struct vol_wear){ 0, 0, 12 }, &err), -EINVAL);
	assert_int_equal(
		card_volume_wear_set(&card, "other", &(struct vol_wear){ 0 }, &err), -ENODEV);
	assert_int_equal(card_volume_resize(&card, "ram", 0, &err), -EINVAL);
	assert_int_equal(card_volume_resize(&card, "other", 8, &err), -ENODEV);

	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_false(is_socket("disk"));
	assert_int_equal(card_function_delete(&card, "disk", &err), -ENODEV);
	assert_int_equal(card_volume_delete(&card, "ram", &err), 0);
}

static void disk_limits(void **state)
{
	struct card_blk_conf c = disk;

	(void)state;
	assert_int_equal(card_volume_create(&card, &ram, &err), 0);
	c.n_queues = 0;
	assert_int_equal(card_blk_create(&card, &c, &err), -EINVAL);
	c.n_queues = 257;
	assert_int_equal(card_blk_create(&card, &c, &err), -EINVAL);
	c.n_queues = 256;
	c.seg_max = 1023;
	assert_int_equal(card_blk_create(&card, &c, &err), -EINVAL);
	c.seg_max = 1022;
	assert_int_equal(card_blk_create(&card, &c, &err), 0);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	c.name = "../disk";
	assert_int_equal(card_blk_create(&card, &c, &err), -EINVAL);
	assert_int_equal(card_volume_delete(&card, "ram", &err), 0);
}

static void nic_is_a_port(void **state)
{
	struct card_net_conf other = nic;
	struct odp_port *port;

	(void)state;
	assert_int_equal(card_net_create(&card, &nic, &err), 0);
	assert_int_equal(card_net_create(&card, &nic, &err), 0);
	other.mac[5] = 2;
	assert_int_equal(card_net_create(&card, &other, &err), -EEXIST);
	other = nic;
	other.gro = !nic.gro;
	assert_int_equal(card_net_create(&card, &other, &err), -EEXIST);
	port = odp_port_by_name(card.dp, "nic");
	assert_non_null(port);
	assert_true(is_socket("nic"));
	assert_int_equal(card_function_delete(&card, "nic", &err), 0);
	assert_null(odp_port_by_name(card.dp, "nic"));
	assert_false(is_socket("nic"));
	other.n_pairs = 0;
	assert_int_equal(card_net_create(&card, &other, &err), -EINVAL);
	other.n_pairs = 129;
	assert_int_equal(card_net_create(&card, &other, &err), -EINVAL);
}

static void uplink(void **state)
{
	struct card_uplink_conf c = { "up", "net_null0", 1, 0 };
	struct card_uplink_conf other = c;
	struct card_net_conf same_name = nic;

	(void)state;
	assert_int_equal(card_uplink_create(&card, &c, &err), 0);
	assert_int_equal(card_uplink_create(&card, &c, &err), 0);
	other.devargs = "net_null1";
	assert_int_equal(card_uplink_create(&card, &other, &err), -EEXIST);
	same_name.name = "up";
	assert_int_equal(card_net_create(&card, &same_name, &err), -EEXIST);
	assert_non_null(odp_port_by_name(card.dp, "up"));
	assert_int_equal(card_uplink_delete(&card, "up", &err), 0);
	assert_int_equal(card_uplink_delete(&card, "up", &err), -ENODEV);
	other.name = "bad";
	other.devargs = "net_no_such_driver0";
	assert_true(card_uplink_create(&card, &other, &err) < 0);
	assert_int_equal(card_uplink_create(&card, &c, &err), 0); // its name and device are free
	assert_int_equal(card_uplink_delete(&card, "up", &err), 0);
}

static const struct odp_tnl_conf tunnel = { .name = "tun", .type = ODP_TNL_VXLAN };

/* What tunnels can and cannot be, beside one of VXLAN. */
static const struct tunnel_case {
	const char *name;
	struct odp_tnl_conf conf;
	int ret;
} tunnel_cases[] = {
	{ "a name that is none", { .name = "a/b", .type = ODP_TNL_GRE }, -EINVAL },
	{ "a port of GRE", { .name = "t", .type = ODP_TNL_GRE, .udp_port = 4789 }, -EINVAL },
	{ "a UDP checksum of GRE", { .name = "t", .type = ODP_TNL_GRE, .zero_csum6 = true },
		-EINVAL },
	{ "control packets of VXLAN", { .name = "t", .type = ODP_TNL_VXLAN_GPE, .take_oam = true },
		-EINVAL },
	{ "options of VXLAN", { .name = "t", .type = ODP_TNL_VXLAN_GBP, .n_known = 1 }, -EINVAL },
	{ "a family that is none",
		{ .name = "t", .type = ODP_TNL_GENEVE, .local = { .family = 5 } }, -EINVAL },
	{ "packets that another takes", { .name = "t", .type = ODP_TNL_VXLAN_GBP }, -EEXIST },
	{ "a name that another has", { .name = "tun", .type = ODP_TNL_GRE }, -EEXIST },
	{ "another port", { .name = "t", .type = ODP_TNL_VXLAN, .udp_port = 8472 }, 0 },
};

static void tunnels(void **state)
{
	const struct tunnel_case *t = *state;
	struct odp_tnl_conf spelled = tunnel;

	spelled.udp_port = 4789;
	assert_int_equal(card_tunnel_create(&card, &tunnel, &err), 0);
	assert_int_equal(card_tunnel_create(&card, &tunnel, &err), 0);
	assert_int_equal(card_tunnel_create(&card, &spelled, &err), 0);
	err.text[0] = '\0';
	assert_int_equal(card_tunnel_create(&card, &t->conf, &err), t->ret);
	if (t->ret) {
		assert_true(err.text[0]);
		assert_null(odp_port_by_name(card.dp, "t"));
	} else {
		assert_int_equal(card_tunnel_delete(&card, "t", &err), 0);
	}
	assert_int_equal(card_tunnel_delete(&card, "tun", &err), 0);
	assert_int_equal(card_tunnel_delete(&card, "tun", &err), -ENODEV);
}

static void count_if(const struct odp_ul_if_info *i, void *arg)
{
	(void)i;
	++*(unsigned *)arg;
}

/* The underlay of an uplink goes with it; its MAC is the same when it comes back. */
static void uplink_has_an_underlay(void **state)
{
	const struct card_uplink_conf up = { "up", "net_null0,no-rx=1", 1, 0 };
	struct odp_ul *ul = odp_underlay(card.dp);
	struct card_uplink_view v, again;
	unsigned n = 0;

	(void)state;
	assert_int_equal(card_uplink_create(&card, &up, &err), 0);
	assert_int_equal(card_uplink_get(&card, "no", &v, &err), -ENODEV);
	assert_int_equal(card_uplink_get(&card, "up", &v, &err), 0);
	assert_int_equal(v.mac[0], 0x02); // net_null has none of its own
	assert_int_equal(odp_ul_if_set(ul, odp_port_no(v.port), 0, v.mac, 1500), 0);
	assert_int_equal(card_uplink_delete(&card, "up", &err), 0);
	odp_ul_if_foreach(ul, count_if, &n);
	assert_int_equal(n, 0);
	assert_int_equal(card_uplink_create(&card, &up, &err), 0);
	assert_int_equal(card_uplink_get(&card, "up", &again, &err), 0);
	assert_memory_equal(v.mac, again.mac, 6);
	assert_int_equal(card_uplink_delete(&card, "up", &err), 0);
}

/* NICs, disks, uplinks and tunnels share one name space, in whatever order they are made. */
static int make(char kind)
{
	struct card_blk_conf b = disk;
	struct card_net_conf n = nic;
	struct odp_tnl_conf t = tunnel;

	b.name = n.name = t.name = "one";
	switch (kind) {
	case 'b':
		return card_blk_create(&card, &b, &err);
	case 'n':
		return card_net_create(&card, &n, &err);
	case 't':
		return card_tunnel_create(&card, &t, &err);
	default:
		return card_uplink_create(
			&card, &(struct card_uplink_conf){ "one", "net_null0", 1, 0 }, &err);
	}
}

static void one_name_space(void **state)
{
	static const char kinds[] = "bnut";

	(void)state;
	assert_int_equal(card_volume_create(&card, &ram, &err), 0);
	for (unsigned i = 0; kinds[i]; i++) {
		assert_int_equal(make(kinds[i]), 0);
		for (unsigned k = 0; kinds[k]; k++)
			assert_int_equal(make(kinds[k]), i == k ? 0 : -EEXIST);
		if (kinds[i] == 'u')
			assert_int_equal(card_uplink_delete(&card, "one", &err), 0);
		else if (kinds[i] == 't')
			assert_int_equal(card_tunnel_delete(&card, "one", &err), 0);
		else
			assert_int_equal(card_function_delete(&card, "one", &err), 0);
	}
	assert_int_equal(card_volume_delete(&card, "ram", &err), 0);
}

/*
 * Each allocation of each constructor fails once: nothing is left, and the next attempt succeeds.
 */
static void out_of_memory(void **state)
{
	long k;
	int ret;

	(void)state;
	for (k = 0;; k++) {
		dpu_alloc_fail_after(k);
		ret = card_volume_create(&card, &ram, &err);
		if (!ret)
			ret = card_blk_create(&card, &disk, &err);
		if (!ret)
			ret = card_net_create(&card, &nic, &err);
		dpu_alloc_fail_after(-1);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		(void)card_function_delete(&card, "nic", &err);
		(void)card_function_delete(&card, "disk", &err);
		(void)card_volume_delete(&card, "ram", &err);
		assert_false(is_socket("disk"));
		assert_null(odp_port_by_name(card.dp, "nic"));
	}
	assert_true(k > 5);
	assert_int_equal(card_function_delete(&card, "nic", &err), 0);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_int_equal(card_volume_delete(&card, "ram", &err), 0);
}

/* Taken down with everything still there: teardown checks it under the sanitizers. */
static void left_for_fini(void **state)
{
	(void)state;
	assert_int_equal(card_volume_create(&card, &ram, &err), 0);
	assert_int_equal(card_blk_create(&card, &disk, &err), 0);
	assert_int_equal(card_net_create(&card, &nic, &err), 0);
	assert_int_equal(card_tunnel_create(&card, &tunnel, &err), 0);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_LEN(volume_cases) + ARRAY_LEN(tunnel_cases) + 11];
	int failed = 0;
	size_t n = 0;

	RUN_ROWS(name_cases, name, failed);
	for (; n < ARRAY_LEN(volume_cases); n++)
		tests[n] = (struct CMUnitTest){ volume_cases[n].name, volume, NULL, NULL,
			(void *)(uintptr_t)&volume_cases[n] };
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(volume_has_a_uuid);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(visited_in_turns);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(file_has_its_own_size);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(disk_holds_its_volume);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(disk_limits);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(nic_is_a_port);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(uplink);
	for (size_t i = 0; i < ARRAY_LEN(tunnel_cases); i++)
		tests[n++] = (struct CMUnitTest){ tunnel_cases[i].name, tunnels, NULL, NULL,
			(void *)(uintptr_t)&tunnel_cases[i] };
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(uplink_has_an_underlay);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(one_name_space);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(out_of_memory);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(left_for_fini);
	return failed + cmocka_run_group_tests(tests, setup, teardown);
}
