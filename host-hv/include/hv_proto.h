/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the card says to a guest's process and to the agent that starts such processes, and what
 * they answer: one record a packet of a SOCK_SEQPACKET Unix socket, little endian, a header first.
 * A type has one length for each version of the protocol, and one number of descriptors; whatever
 * differs is answered by HV_DONE with the reason, counted, and has no effect. Reserved bytes are 0.
 *
 * A conversation begins with HV_HELLO, of any sequence number; each record of the card after it has
 * the number that follows, so none counts twice. An answer has the number of what it answers; an
 * event's are counted on their own. A new HV_HELLO begins a new conversation: another card process
 * has the socket now, and does not take what is left in it of the old one.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "dpu_wire.h"

#define HV_PROTO_MAGIC 0x5642414fu // "OABV"
#define HV_PROTO_VERSION 1
#define HV_PROTO_FDS 2 // descriptors of one record, at most
#define HV_PROTO_VCPUS 64
#define HV_PROTO_SLOTS 32 // functions of one guest
#define HV_PROTO_CMDLINE 2048 // bytes, the NUL at its end included
#define HV_PROTO_CONSOLE 256 // bytes of one record
#define HV_PROTO_TEXT 208
#define HV_PROTO_ID 16 // bytes of a guest's name for the agent: the card's UUID of the VM

enum hv_type {
	/* From the card to a guest's process. */
	HV_HELLO = 1, // -> struct hv_rec_hello
	HV_CREATE = 2, // struct hv_rec_create; kernel, and initrd if there is one
	HV_START = 3, // no body; struct hv_rec_done answers all that name no other answer
	HV_PAUSE = 4,
	HV_RESUME = 5,
	HV_STOP = 6,
	HV_POWER_BUTTON = 7,
	HV_ADD = 8, // struct hv_rec_function; a connected vhost-user socket
	// The guest is asked to let go of it, HV_EV_STATE tells when it has; once more: at once.
	HV_REMOVE = 9, // struct hv_rec_function
	HV_RECONNECT = 10, // struct hv_rec_function; a new connection for what had one
	HV_QUERY = 11, // -> struct hv_rec_info
	HV_COUNTERS = 12, // -> struct hv_rec_counted
	HV_CONSOLE_IN = 13, // struct hv_rec_bytes
	HV_GROW = 14, // struct hv_rec_grow; the guest that runs is told of more memory
	HV_TYPES = 15,

	/* From the card to the agent. One that has ended stays known to it until either of them. */
	HV_AGENT_SPAWN = 0x101, // struct hv_rec_agent_spawn
	HV_AGENT_KILL = 0x102, // struct hv_rec_agent_guest: at once, whatever it does

	/* Answers. */
	HV_DONE = 0x201, // struct hv_rec_done
	HV_HELLO_DONE = 0x202, // struct hv_rec_hello
	HV_INFO = 0x203, // struct hv_rec_info
	HV_COUNTED = 0x204, // struct hv_rec_counted

	/* Events. */
	HV_EV_STATE = 0x301, // struct hv_rec_info: another state, or other functions
	HV_EV_CONSOLE = 0x302, // struct hv_rec_bytes: the guest's output
	HV_EV_WANT = 0x303, // struct hv_rec_function: give it a new connection
	HV_EV_LOG = 0x304, // struct hv_rec_log
	HV_EV_GUEST = 0x305, // agent, struct hv_rec_agent_guest; the card's end of its socket
	HV_EV_ENDED = 0x306, // agent, struct hv_rec_agent_guest: its process is no more
};

enum hv_status {
	HV_OK = 0,
	HV_E_MAGIC = 1,
	HV_E_VERSION = 2, // of the protocol; the header of the answer has ours
	HV_E_TYPE = 3, // no such record
	HV_E_LENGTH = 4, // not the one length of its type, in the header or on the wire
	HV_E_SEQUENCE = 5, // repeated, left out, or before HV_HELLO
	HV_E_STATE = 6, // not in this state of the guest
	HV_E_FD_COUNT = 7, // more or fewer descriptors than the type has
	HV_E_FD_KIND = 8, // not a sealed memfd, or not a connected Unix stream socket
	HV_E_FIELD = 9, // a value that is none, or a reserved byte that is not 0
	HV_E_SLOT = 10, // taken, or empty
	HV_E_IMAGE = 11, // kernel or initrd is not what it must be
	HV_E_MEMORY = 12, // the host has none; detail ENOSPC: the guest was not made for more
	HV_E_JAIL = 13, // could not be shut in, so it will not run
	HV_E_INTERNAL = 14, // KVM, or the machine
	HV_E_ID = 15, // agent: no such guest, or one that there is already
	HV_STATUSES = 16,
};

struct hv_rec_hdr {
	dpu_le32 magic;
	dpu_le16 version;
	dpu_le16 type; // enum hv_type
	dpu_le32 len; // bytes, this header included
	dpu_le32 seq;
};
static_assert(sizeof(struct hv_rec_hdr) == 16, "wire struct");

struct hv_rec_hello {
	struct hv_rec_hdr h;
	dpu_le16 version; // of the protocol, that the sender speaks
	dpu_le16 vcpus_max; // a request's are 0, from here on
	dpu_le16 slots;
	dpu_le16 reserved;
};
static_assert(sizeof(struct hv_rec_hello) == 24, "wire struct");

struct hv_rec_done {
	struct hv_rec_hdr h;
	dpu_le16 type; // of the request; 0 if it had none that could be read
	dpu_le16 status; // enum hv_status
	dpu_le32 detail; // Linux' errno behind it, for people; HV_CONSOLE_IN: bytes left over
};
static_assert(sizeof(struct hv_rec_done) == 24, "wire struct");

#define HV_CREATE_INITRD 1u // the second descriptor
#define HV_CREATE_HUGEPAGES 2u
#define HV_CREATE_SPLIT_IRQCHIP 4u
#define HV_CREATE_FLAT 8u // the kernel is a flat program (host-hv --flat): tests
#define HV_CREATE_FLAGS 15u
#define HV_PIN_NONE 0xffffu
#define HV_CPU_NAMES                     \
	{                                \
		"host", "baseline", "v3" \
	} // by cpu_template: cpuid.h has what they are

struct hv_rec_create {
	struct hv_rec_hdr h;
	dpu_le32 mem_mib;
	dpu_le32 grow_mib; // that HV_GROW may add
	dpu_le32 flags; // HV_CREATE_*
	dpu_le16 vcpus;
	dpu_le16 cpu_template; // of HV_CPU_NAMES
	dpu_le16 pin[HV_PROTO_VCPUS]; // CPU of each vCPU; HV_PIN_NONE: any, or no such vCPU
	char cmdline[HV_PROTO_CMDLINE]; // ends with a NUL, and only 0 after it
};
static_assert(sizeof(struct hv_rec_create) == 2208, "wire struct");

#define HV_GROW_UNIT_MIB 128u // what is added is a multiple, of a guest of 63 GiB one of 2 GiB

struct hv_rec_grow {
	struct hv_rec_hdr h;
	dpu_le64 mem_mib; // all that it is to have then
};
static_assert(sizeof(struct hv_rec_grow) == 24, "wire struct");

enum hv_kind { HV_KIND_NET = 1, HV_KIND_BLK = 2 };

struct hv_rec_function {
	struct hv_rec_hdr h;
	uint8_t slot; // below HV_PROTO_SLOTS
	uint8_t kind; // enum hv_kind; 0 but for HV_ADD
	uint8_t reserved[6];
};
static_assert(sizeof(struct hv_rec_function) == 24, "wire struct");

enum hv_info_state {
	HV_INFO_NONE, // nothing created
	HV_INFO_CREATED,
	HV_INFO_RUNNING,
	HV_INFO_PAUSED,
	HV_INFO_ENDED,
};

struct hv_rec_info {
	struct hv_rec_hdr h;
	uint8_t state; // enum hv_info_state
	uint8_t end; // enum hv_end of machine.h when it ended, else 0
	dpu_le16 vcpus;
	dpu_le32 functions; // bit by slot: there is one
	dpu_le32 wanting; // bit by slot: it waits for a connection
	dpu_le32 reserved;
	dpu_le64 mem_mib;
};
static_assert(sizeof(struct hv_rec_info) == 40, "wire struct");

struct hv_rec_counted {
	struct hv_rec_hdr h;
	dpu_le64 refused[HV_STATUSES]; // records, by reason
	dpu_le64 exits; // returns of KVM_RUN
	dpu_le64 missed; // accesses that no device answered
	dpu_le64 console_lost; // bytes of output that the card did not take in time
	dpu_le64 log_lost; // lines
};
static_assert(sizeof(struct hv_rec_counted) == 176, "wire struct");

struct hv_rec_bytes {
	struct hv_rec_hdr h;
	dpu_le16 n; // 1..HV_PROTO_CONSOLE; what follows them is 0
	uint8_t bytes[HV_PROTO_CONSOLE];
	uint8_t reserved[6];
};
static_assert(sizeof(struct hv_rec_bytes) == 280, "wire struct");

struct hv_rec_log {
	struct hv_rec_hdr h;
	char text[HV_PROTO_TEXT]; // one line; ends with a NUL
};
static_assert(sizeof(struct hv_rec_log) == 224, "wire struct");

struct hv_rec_agent_spawn {
	struct hv_rec_hdr h;
	uint8_t id[HV_PROTO_ID];
	uint8_t reserved[8];
};
static_assert(sizeof(struct hv_rec_agent_spawn) == 40, "wire struct");

struct hv_rec_agent_guest {
	struct hv_rec_hdr h;
	uint8_t id[HV_PROTO_ID];
	dpu_le32 generation; // of its processes, from 1 on; a request's is 0, from here on
	dpu_le32 pid; // as the agent's host sees it
	uint8_t end; // HV_EV_ENDED: enum hv_end of machine.h
	uint8_t signal; // that ended it: SIGSYS is the jail's; 0: none
	uint8_t reserved[6];
};
static_assert(sizeof(struct hv_rec_agent_guest) == 48, "wire struct");
