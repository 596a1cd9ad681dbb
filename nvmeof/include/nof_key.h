/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of volumes. A data key is made at random, known outside only in wrapped form, and opened by
 * a provider, which alone knows the key-encryption key. What is opened lies in memory that is
 * locked, left out of core files and wiped when the last user lets go.
 *
 * All of it on the control thread, except what says otherwise.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NOF_KEY_LEN 64u // AES-256-XTS: two keys of 32 bytes (IEEE 1619-2007)
#define NOF_KEY_CONTEXT "outboard volume key %s" // what keys of volumes are wrapped for, by name
#define NOF_WRAPPED_LEN (1u + 12u + NOF_KEY_LEN + 16u) // version, nonce, key, tag

/* A data key that is open. Counted references. */
struct nof_key;

/* In wrapped form: AES-256-GCM (NIST SP 800-38D) over the key, with the volume's name beside it. */
struct nof_wrapped {
	uint8_t bytes[NOF_WRAPPED_LEN];
};

struct nof_key_provider;

struct nof_key_provider_ops {
	const char *kind;
	/* `context` names what the key is for: who asks with another gets -EBADMSG. */
	int (*wrap)(struct nof_key_provider *p, const struct nof_key *key, const char *context,
		struct nof_wrapped *out);
	int (*unwrap)(struct nof_key_provider *p, const struct nof_wrapped *w, const char *context,
		struct nof_key **out);
	void (*close)(struct nof_key_provider *p);
};

/* First member of each kind's provider. */
struct nof_key_provider {
	const struct nof_key_provider_ops *ops;
};

/*
 * A provider whose key-encryption key is the content of a file: 32 bytes, a plain file that only
 * its owner can read and that is ours. 0, -EACCES (others may read it, or not ours), -EINVAL (not a
 * plain file, not 32 bytes), -ENOMEM, -EIO, or the errno of open(2) (-ELOOP: a link).
 */
int nof_key_file_open(const char *path, struct nof_key_provider **out);
/* NULL is accepted. */
void nof_key_provider_close(struct nof_key_provider *p);

/* 0; -EIO, -ENOMEM. */
int nof_key_wrap(struct nof_key_provider *p, const struct nof_key *key, const char *context,
	struct nof_wrapped *out);
/*
 * 0; -EBADMSG: damaged, of another key-encryption key or another context; -EPROTONOSUPPORT: a
 * version that is not known; -EIO, -ENOMEM.
 */
int nof_key_unwrap(struct nof_key_provider *p, const struct nof_wrapped *w, const char *context,
	struct nof_key **out);

/*
 * From here on this process writes no core file and lets nobody trace it but root. Who opens or
 * makes a key has done so; who takes one in from elsewhere does it before that. 0 or -errno.
 */
int nof_key_hide(void);

/* A new data key from the system's random numbers. 0, -ENOMEM, -EIO. */
int nof_key_generate(struct nof_key **out);
/*
 * From bytes that somebody has. 0, -ENOMEM, or -EINVAL: both halves are the same, with which XTS
 * is no cipher for disks (IEEE 1619, annex D; OpenSSL refuses it as well).
 */
int nof_key_import(const uint8_t bytes[NOF_KEY_LEN], struct nof_key **out);
struct nof_key *nof_key_get(struct nof_key *key);
void nof_key_put(struct nof_key *key); // NULL is accepted

/* ---- keys that die with the machine: key_ring.c ---- */

/*
 * Have the kernel keep a copy under a name of at most 100 bytes, unique in it: for a minute, unless
 * nof_key_kept() finds it there. Every process of this user and of root can ask for it. 0, -EEXIST,
 * -EINVAL, -EDQUOT (more keys than the user may have), or why the kernel refuses: -ENOSYS, -EPERM.
 */
int nof_key_keep(const struct nof_key *key, const char *name);
/* The key of that name. 0, -ENOKEY: there is none (any more), -EBADMSG, -ENOMEM, or as above. */
int nof_key_kept(const char *name, struct nof_key **out);
/* The kernel wipes its copy. 0, -ENOKEY, or as above. */
int nof_key_let_go(const char *name);

/* For ciphers. Any thread that holds a reference. */
const uint8_t *nof_key_bytes(const struct nof_key *key);
