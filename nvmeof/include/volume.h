/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: where blocks live. One interface over files, memory, nothing, and later NVMe over
 * Fabrics and the layers on top of it.
 *
 * The control thread opens, resizes and closes volumes. Each worker that does I/O on one has a
 * channel of its own; a request is submitted to a channel and answered on the same worker, from
 * submit itself or from a later vol_chan_kick() or vol_chan_poll(). Nothing here blocks a worker,
 * and no single call holds it for long: what has to be copied on the worker is copied in slices, at
 * most 256 KiB in a submit and 1 MiB in a kick or poll, however long the request is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "dpu_lat.h"
#include "dpu_stats.h"

struct vol;
struct vol_chan;
struct nof_group;
struct nof_host;

enum vol_op {
	VOL_READ,
	VOL_WRITE,
	VOL_FLUSH,
	VOL_DISCARD,
	VOL_WRITE_ZEROES,
	/*
	 * Write if what is there equals `cmp`, with no other write of this volume in between, of
	 * whatever channel (ADR-0019). Besides what a write may say:
	 *   -ECANCELED    it differs: nothing was written
	 *   -ECONNABORTED nobody knows whether it was carried out, and it will not be any more;
	 *                 neither may it be repeated blindly
	 *   -EOPNOTSUPP   this volume cannot, or its channel has no group
	 *   -EINVAL       longer than vol_info.compare_max
	 */
	VOL_COMPARE_WRITE,
};

#define VOL_COMPARE_MAX (32u << 10) // bytes of one VOL_COMPARE_WRITE, whatever the volume

#define VOL_IO_PRIV 96

/* One request; the submitter's memory until done() is called. */
struct vol_io {
	enum vol_op op;
	bool fua; // stable on media when answered
	bool unmap; // VOL_WRITE_ZEROES: may deallocate, reads as zeros all the same
	/*
	 * VOL_WRITE_ZEROES: what was there must not be found again. Zeros are written over it where
	 * it lies, never deallocated or only marked, and are stable when answered. Below a file
	 * system or device that writes elsewhere (copy on write, wear levelling) that is all a
	 * volume can do.
	 */
	bool erase;
	uint8_t gate; // vol.c's: enum vol_gate
	uint64_t off; // bytes; a multiple of block_size
	uint64_t len; // bytes; a multiple of block_size
	struct iovec *iov; // what moves data: sums to len; any alignment, any number
	unsigned n_iov;
	unsigned n_cmp; // VOL_COMPARE_WRITE
	/*
	 * Called once, on the worker of the channel. err: 0 or -errno. The io may be reused in it.
	 */
	void (*done)(struct vol_io *io, int err);
	uint64_t since_ns; // vol.c's: submitted then, if it is timed
	struct iovec *cmp; // VOL_COMPARE_WRITE: what must be there; sums to len
	_Alignas(16) unsigned char priv[VOL_IO_PRIV]; // the volume's
};

/*
 * Wear of the media below, counted as JEDEC does for eMMC and VIRTIO 1.3, 5.2.6 after it. 0: not
 * known.
 */
struct vol_wear {
	uint16_t pre_eol; // spare blocks: 1 normal, 2 80 % used, 3 90 % used
	uint16_t life_a, life_b; // SLC, MLC cells: n is up to 10 * n % used, 11 beyond
};
#define VOL_PRE_EOL_MAX 3
#define VOL_LIFE_MAX 11

struct vol_info {
	const char *name;
	const char *kind; // "null", "ram", "file", "nvmf"
	uint64_t size; // bytes
	uint32_t block_size; // 512 or 4096
	uint32_t opt_io_size; // bytes, 0: none
	uint32_t compare_max; // bytes of a VOL_COMPARE_WRITE, 0: it cannot
	bool read_only;
	bool can_discard, can_zero, can_erase, volatile_cache;
	bool at_once; // vol_at_once() does something
	bool failed; // a flush failed once: no flush succeeds until the volume is opened again
	struct vol_wear wear; // all 0: not known
};

/* Summed over channels by vol_stats(). */
struct vol_stats {
	uint64_t reads, read_bytes, writes, write_bytes, flushes, discards, zeroes, errors;
	uint64_t compares; // VOL_COMPARE_WRITE that wrote
	uint64_t miscompares; // that found something else; no errors
	uint64_t compares_lost; // of which nobody knows; part of the errors
	uint64_t delayed; // had to wait for the volume's limits
	uint64_t mismatches; // blocks whose checksum did not fit, and sum blocks that were damaged
};

/* ---- open: control thread. Each fills *out, which vol_close() takes. ---- */

struct vol_null_conf {
	const char *name; // copied
	uint64_t size; // bytes
	uint32_t block_size;
};
/* Reads leave the buffers untouched, writes vanish: for measuring. 0, -EINVAL, -ENOMEM. */
int vol_null_open(const struct vol_null_conf *conf, struct vol **out);

struct vol_ram_conf {
	const char *name;
	uint64_t size;
	uint32_t block_size;
	bool prealloc; // take all its memory now, in huge pages where there are some
};
/*
 * Zeroed memory; discard gives pages back. Taking it beforehand lasts as long as clearing it, at a
 * resize as well. 0, -EINVAL, -ENOMEM (also: more than the machine has, to be taken beforehand).
 */
int vol_ram_open(const struct vol_ram_conf *conf, struct vol **out);

struct vol_file_conf {
	const char *name;
	const char *path; // plain file or block device; never interpreted, never followed as a link
	uint32_t block_size; // 0: the device's own (4096, else 512), 512 of a plain file
	bool read_only;
	bool direct; // O_DIRECT where the file system can; without it when it cannot (logged)
	/*
	 * Another process may have it, too, as in a migration; it becomes this volume's alone when
	 * a channel is opened and nobody else has it.
	 */
	bool shared;
	uint64_t create_size; // bytes; 0: must exist. Creates a sparse file of that size if missing
};
/*
 * io_uring on one file, which is the volume's alone as long as it is open, in this process and in
 * others; read-only ones share it with one another. Flush is fdatasync; after one failed every
 * later flush fails too, because the kernel drops the dirty pages ("fsyncgate"). 0, -EINVAL (size
 * no multiple of block_size, not a file), -ELOOP (a symbolic link), -EBUSY (another volume's, or a
 * device that is mounted), or the errno of open(2), fcntl(2), io_uring_setup(2).
 */
int vol_file_open(const struct vol_file_conf *want, struct vol **out);
/*
 * One that was opened as shared is its file's alone from now on: 0, also when it is already;
 * -EBUSY: another process has it; -ENOTSUP: no file volume. Control thread, with no channel being
 * opened.
 */
int vol_file_unshare(struct vol *v);
/*
 * 1: it was opened as shared; 0: not; -ENOTSUP: no file volume. *alone: nobody else has the file
 * now. Control thread.
 */
int vol_file_sharing(const struct vol *v, bool *alone);

/*
 * Layers: volumes on a lower one, which is borrowed: it outlives the layer, and nobody else opens
 * channels of it. Their channels need a group.
 */

struct nof_key;

struct vol_crypt_conf {
	const char *name; // copied
	struct vol *lower;
	struct nof_key *key; // a reference is taken
	uint32_t unit; // bytes, 512 or 4096, not below the lower's block size; the block size above
};
/*
 * AES-256-XTS, unit by unit; the tweak is the unit's number. Zeros are written as what decrypts to
 * them. What was discarded, or never written, reads as noise. 0, -EINVAL, -ENOMEM.
 */
int vol_crypt_open(const struct vol_crypt_conf *conf, struct vol **out);

/* What a change of key keeps below: two records of a page and 1 MiB. */
#define VOL_REKEY_JOURNAL (2u * ((1u << 20) + 4096))
struct vol_rekey_conf {
	struct nof_key *key; // the new one; a reference is taken
	struct vol *journal; // borrowed until it is over; nobody else opens channels of it
	struct nof_group *group; // borrowed; a worker's: the work is done there
	uint8_t id[16]; // of this change; random
	bool resume; // it was begun before: the journal must have it
	uint64_t bytes_per_sec; // 0: as fast as it goes
};
/*
 * Move an encrypted volume to another key while requests go on (ADR-0017). vol_rekey_step() has to
 * be called now and then until it is over. 0; -EINVAL: not an encrypted volume, or the journal is
 * too small, read-only or has larger blocks than 4096; -EBUSY: it is being moved already; -ENOMEM,
 * -EIO. Control thread, as the others.
 */
int vol_crypt_rekey(struct vol *v, const struct vol_rekey_conf *conf);
/*
 * VOL_REKEY_BEGINS: nothing is in the journal yet. VOL_REKEY_MOVES: it is, so that it can be
 * resumed. VOL_REKEY_OVER: the new key is the only one, the journal is free. Negative: it did not
 * begin, and the old key is the only one (-ECANCELED: vol_work_stop() before vol_rekey_go()); or
 * there is no journal to resume it from (-ENODATA), and every request fails.
 */
enum vol_rekey { VOL_REKEY_OVER, VOL_REKEY_BEGINS, VOL_REKEY_MOVES };
int vol_rekey_step(struct vol *v);
/*
 * One that is not resumed moves nothing until it is told to: whoever has to know of it knows. After
 * VOL_REKEY_MOVES.
 */
void vol_rekey_go(struct vol *v);

struct vol_integrity_conf {
	const char *name; // copied
	struct vol *lower;
	struct nof_group *group; // borrowed; a worker's: the header is read there
	/*
	 * Borrowed; the control thread's: whoever watches the volume hears there that its size is
	 * known, where that is another than it seemed. NULL: nobody does.
	 */
	struct nof_group *control;
	bool format; // make it one if it is none, and below are zeros
	bool overwrite; // with format: whatever is below
	uint8_t uuid[16]; // not 0: only one with this UUID is taken
};
/*
 * A checksum for each block, beside the data (ADR-0016). The block size is the lower's. What was
 * discarded or never written reads as zeros. Every write is stable below when it is answered, if
 * the lower one has a cache.
 *
 * The header is read, or written, after this returned: vol_work() says how far that is; err is then
 * -EBADMSG (no header), -EPROTONOSUPPORT (of a later version), -EEXIST (something else is there),
 * -ESTALE (another UUID), -ERANGE (the lower one is smaller than it was), or the lower's error. It
 * keeps its size. 0, -EINVAL (too small), -ENOMEM.
 */
int vol_integrity_open(const struct vol_integrity_conf *conf, struct vol **out);
/* Of one whose header was found: its UUID. Control thread. */
void vol_integrity_uuid(const struct vol *v, uint8_t out[16]);

#define VOL_STRIPE_MAX 16u
struct vol_stripe_conf {
	const char *name; // copied
	struct vol *const *members; // borrowed: outlive the volume; each one once
	unsigned n; // 1 to VOL_STRIPE_MAX
	uint32_t strip; // bytes; a power of two, no smaller than a block and at most 16 MiB
};
/*
 * Strips of the members in turn (RAID 0): as many of each as the smallest has. The block size is
 * the largest of them, it can what all can, and has a cache if one has. It grows with all of them,
 * and never shrinks by vol_resize(). 0, -EINVAL (also: a member smaller than a strip), -ENOMEM.
 */
int vol_stripe_open(const struct vol_stripe_conf *conf, struct vol **out);

struct vol_nvmf_conf {
	const char *name;
	struct nof_host *host; // borrowed: outlives the volume
	const char *subnqn; // of the subsystem; its controllers are the paths (nof_ctrl.h)
	uint32_t nsid;
	/*
	 * What is known of it: with a size it opens before any controller is connected, and
	 * requests wait. 0: it must be there now.
	 */
	uint64_t size;
	uint32_t block_size;
	bool read_only, can_discard, can_zero,
		volatile_cache; // with a size: what it is known to do
	/* Not 0: only a namespace with this UUID, or NGUID, is taken for it, on every path. */
	uint8_t uuid[16];
	/*
	 * Of the paths in the best ANA state: in turn, the one with the fewest commands, those at
	 * the worker's NUMA node in turn (all of them, if there is none or nodes are not known), or
	 * one for as long as it lasts.
	 */
	enum vol_policy {
		VOL_ROUND_ROBIN,
		VOL_QUEUE_DEPTH,
		VOL_NUMA,
		VOL_ACTIVE_PASSIVE,
	} policy;
};
/*
 * A namespace of an NVMe subsystem over every controller of it. It may be resized at its far end
 * only. 0, -EINVAL, -ENOENT (not there, and no size is known), -ENOTSUP (a format that volumes
 * cannot have), -ENOMEM.
 */
int vol_nvmf_open(const struct vol_nvmf_conf *conf, struct vol **out);

struct nof_ctrl;
struct vol_nvmf_path {
	const struct nof_ctrl *ctrl; // borrowed: until it is deleted
	bool accessible, optimized; // connected, and as ANA has it
	int node; // NUMA node of its device; -1: not known
	bool preferred; // by vol_nvmf_prefer()
	enum vol_policy policy; // of the volume
};
/*
 * Control thread, all three. -ENOTSUP: a volume of another kind. Another policy, from the next
 * commands on. What VOL_ACTIVE_PASSIVE takes while it can: the path to the controller of this
 * number, -ENOENT: there is none. The idx-th path, -ENOENT: there are no more.
 */
int vol_nvmf_policy_set(struct vol *v, enum vol_policy policy);
int vol_nvmf_prefer(struct vol *v, uint16_t cntlid);
int vol_nvmf_path(struct vol *v, unsigned idx, struct vol_nvmf_path *out);

/* What a volume does by itself. */
struct vol_work {
	enum vol_work_kind {
		VOL_WORK_NONE,
		VOL_WORK_CHECK, // its header is looked for; requests wait
		VOL_WORK_FORMAT, // it is made ready; requests wait
		VOL_WORK_REKEY, // it gets another key; err: what it waits for to go away
	} kind;
	uint64_t done, total; // bytes
	int err; // it could not be done: requests fail. 0: nothing of that kind
};
/* Control thread. */
void vol_work(const struct vol *v, struct vol_work *out);
/*
 * Have it end: asked for as often as the answer is false. True: there is none, and from now on the
 * volume may be closed. Control thread.
 */
bool vol_work_stop(struct vol *v);

/* No channel may be left open, no work going on. NULL is accepted. */
void vol_close(struct vol *v);

/*
 * New size in bytes. -EBUSY never: running requests beyond a shrunk end fail with -EIO. -ENOTSUP.
 */
int vol_resize(struct vol *v, uint64_t size);

/*
 * Say that the media is worn so, whatever it says itself: fault injection. All 0 takes that back.
 * 0, or -EINVAL: out of range.
 */
int vol_wear_set(struct vol *v, const struct vol_wear *w);
/* Ask the media again; may wait for it. Files on an eMMC or UFS device have some to ask. */
void vol_wear_refresh(struct vol *v);
/* Any thread, never waits: what is known of the wear. False: nothing. */
bool vol_wear(const struct vol *v, struct vol_wear *out);

/*
 * At most so much a second, of all channels together; 0: no limit. `burst_ms`: as much as the rates
 * give in that time may be taken at once by whoever took nothing for as long. Writing zeros counts
 * as a write of so many bytes, discarding as an operation, a flush not at all. Control thread.
 */
struct vol_limits {
	uint64_t rw_ios, r_ios, w_ios; // operations per second
	uint64_t rw_bytes, r_bytes, w_bytes; // bytes per second
	uint32_t burst_ms;
};
void vol_limits_set(struct vol *v, const struct vol_limits *l);
void vol_limits(const struct vol *v, struct vol_limits *out);

/*
 * Time every so many-th request, 0: none, 1: all. DPU_LAT_EVERY from the start. Control thread.
 */
void vol_latency_set(struct vol *v, uint32_t every);
uint32_t vol_latency_every(const struct vol *v);
/*
 * Add how long requests took that were answered without an error, from vol_submit() on, waiting for
 * limits included; flushes, discards and zeroes are DPU_LAT_OTHER. Any thread but a worker.
 */
void vol_latency(const struct vol *v, struct dpu_hist_sum out[DPU_LAT_CLASSES]);

/*
 * Tell fn(arg) whenever the size, or what it can, changed by itself, as the far end of a network
 * wants. NULL: nobody. On the control thread.
 */
void vol_watch(struct vol *v, void (*fn)(void *arg), void *arg);

/* Any thread. */
void vol_info(const struct vol *v, struct vol_info *out);
void vol_stats(const struct vol *v, struct vol_stats *out);

/* ---- I/O: the worker that owns the channel ---- */

/*
 * Open and close on the control thread while the worker does not use it. `group` is the worker's
 * (borrowed: outlives the channel); NULL does for volumes that need none: null, ram, file. 0 or
 * -errno.
 */
int vol_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out);
void vol_chan_close(struct vol_chan *c); // nothing in flight

/*
 * Submit one request. Always answered by io->done, possibly before this returns. Range and block
 * alignment are checked here (-EINVAL), read-only (-EROFS).
 */
void vol_submit(struct vol_chan *c, struct vol_io *io);

/*
 * n <= 64 transfers that need no waiting, in order: off[i] and data[i] are one segment each, bit i
 * of `writes` is set for a write. True: all are done. False: nothing was done, because a transfer
 * is longer than 128 KiB or one that vol_submit() refuses, or because volumes of this kind have to
 * wait.
 */
bool vol_at_once(struct vol_chan *c, unsigned n, const uint64_t *off, const struct iovec *data,
	uint64_t writes);

/*
 * Push what was batched to the kernel, go on with long requests, collect answers. Returns how many
 * operations moved, 0 when none did: a request may take several.
 */
unsigned vol_chan_kick(struct vol_chan *c);
unsigned vol_chan_poll(struct vol_chan *c);

/*
 * Becomes readable when answers wait; -1: there is nothing to wait for (null, ram), and as long as
 * something is in flight the channel wants to be polled. A thread that sleeps on it may be woken by
 * EINTR instead, which is as good a reason to poll the channel.
 */
int vol_chan_fd(const struct vol_chan *c);
/*
 * How long the worker may sleep while something is in flight, us. 0: not at all, the channel wants
 * to be polled; VOL_WAIT_FD: until vol_chan_fd() signals.
 */
#define VOL_WAIT_FD UINT32_MAX
unsigned vol_chan_wait_us(const struct vol_chan *c);
/*
 * Like vol_chan_kick(), for a channel that is about to be let go: what waits for the limits goes
 * down now, a part with each call, and is charged all the same.
 */
void vol_chan_drain(struct vol_chan *c);
/* Requests submitted and not answered. */
unsigned vol_chan_inflight(const struct vol_chan *c);
