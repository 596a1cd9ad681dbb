/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A topology file, read and checked: cards with their volumes, functions and uplinks, links between
 * uplinks, guests. Every error is printed as "file:line: key: reason"; unknown keys are errors.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define EMU_NAME_SIZE 24
#define EMU_TEXT_SIZE 512
#define EMU_LIST_MAX 256 // cards, guests, functions of a card, ...

enum emu_volume_kind { EMU_VOL_FILE, EMU_VOL_RAM, EMU_VOL_NULL, EMU_VOL_REMOTE };

struct emu_end {
	size_t card, item; // index of the card; of its uplink, function or export
	bool set;
};

struct emu_volume {
	char name[EMU_NAME_SIZE];
	uint64_t kind; // enum emu_volume_kind
	uint64_t size_mib; // EMU_VOL_REMOTE: what it is a volume of has it
	uint64_t block_size;
	char from_text[EMU_TEXT_SIZE];
	struct emu_end from; // EMU_VOL_REMOTE: the export
	bool encrypted; // EMU_VOL_REMOTE: by this card, in units of block_size
};

/* A volume that other cards see over NVMe/TCP. */
struct emu_export {
	char volume[EMU_NAME_SIZE];
	uint64_t paths; // addresses that the card listens at
	size_t item; // index of the volume
};

enum emu_function_kind { EMU_FN_NET, EMU_FN_BLK };

struct emu_function {
	char name[EMU_NAME_SIZE];
	uint64_t kind; // enum emu_function_kind
	uint64_t queues; // queue pairs of a NIC
	uint64_t mtu; // NIC
	char mac[18]; // NIC; made from the position when the file gives none
	char volume[EMU_NAME_SIZE]; // disk
	bool client; // the card connects, the guest's QEMU listens
	bool host_notifier, gro; // as net_create and its like have them
	bool used; // by a guest
};

struct emu_uplink {
	char name[EMU_NAME_SIZE];
	uint64_t queues;
	uint64_t mtu; // 0: the device's own
	char devargs[EMU_TEXT_SIZE]; // empty: a link's end
	bool linked;
};

struct emu_card_conf {
	char name[EMU_NAME_SIZE];
	char cores[EMU_TEXT_SIZE]; // CPUs of the workers; empty: `workers` CPUs are chosen
	uint64_t workers;
	uint64_t mem_mib;
	bool restart; // start again at once when it dies
	struct emu_volume *volumes; // owned
	struct emu_function *functions; // owned
	struct emu_uplink *uplinks; // owned
	struct emu_export *exports; // owned
	size_t n_volumes, n_functions, n_uplinks, n_exports;
	json_t *calls; // borrowed from the file: further configuration calls, or NULL
	json_t *args; // borrowed: further arguments of cardd, or NULL
};

enum emu_link_kind { EMU_LINK_AUTO, EMU_LINK_MEMIF, EMU_LINK_VETH };

struct emu_link {
	uint64_t kind; // enum emu_link_kind; after emu_fabric_choose() no longer EMU_LINK_AUTO
	struct emu_end ends[2];
};

struct emu_guest_conf {
	char name[EMU_NAME_SIZE];
	uint64_t mem_mib, cpus;
	char ip[EMU_TEXT_SIZE]; // "10.0.0.1/24", or empty
	char append[EMU_TEXT_SIZE]; // further words for the kernel command line
	char nic_options[EMU_TEXT_SIZE], disk_options[EMU_TEXT_SIZE]; // QEMU device properties
	bool restart;
	bool iommu; // Intel's, with device TLBs; functions need iommu_platform in their options
	uint64_t hypervisor; // enum emu_hypervisor; never EMU_HV_AUTO after emu_hypervisor_choose()
	struct emu_end nic, disk;
};

struct emu_topology {
	char name[EMU_NAME_SIZE];
	struct emu_card_conf *cards; // owned
	struct emu_link *links; // owned
	struct emu_guest_conf *guests; // owned
	size_t n_cards, n_links, n_guests;
	json_t *root; // owned
};

/*
 * Read and check the file at `path`; errors go to stderr, all of them.
 * Returns 0, -EINVAL (the file has errors), -ENOMEM, or the errno of reading it.
 */
int emu_topology_load(const char *path, struct emu_topology **out);
void emu_topology_free(struct emu_topology *t);

/* Line, from 1, of the value at `path` ("cards[1].name") in JSON `text`; its nearest parent's line
 * when there is none. The text has been parsed before. */
unsigned emu_json_line(const char *text, const char *path);
