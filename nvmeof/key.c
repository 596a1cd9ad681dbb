// SPDX-License-Identifier: Apache-2.0
/*
 * Data keys in locked memory, wrapped and unwrapped by AES-256-GCM; the provider that has its
 * key-encryption key in a file.
 */
#include "nof_key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "dpu_alloc.h"
#include "dpu_log.h"

#define KEK_LEN 32u
#define NONCE_LEN 12u
#define TAG_LEN 16u
#define VERSION 1u
#define CONTEXT_MAX 512u

struct nof_key {
	_Atomic unsigned refs;
	uint8_t bytes[NOF_KEY_LEN];
};

struct key_file {
	struct nof_key_provider p;
	uint8_t *kek; // owned, secret memory
};

/* ---- secret memory ---- */

int nof_key_hide(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/*
 * A page of its own, so that locking and the advice are about nothing else. Ciphers keep copies of
 * what they need in ordinary memory: hence no core file and no tracer at all from here on.
 */
static void *secret_alloc(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	if (nof_key_hide())
		return NULL;
	p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, page, MADV_DONTDUMP) < 0 || madvise(p, page, MADV_WIPEONFORK) < 0) {
		munmap(p, page);
		return NULL;
	}
	if (mlock(p, page) < 0)
		dpu_warn("key: memory cannot be locked, it may reach swap", "err=%d", errno);
	return p;
}

static void secret_free(void *p, size_t len)
{
	if (!p)
		return;
	explicit_bzero(p, len);
	munmap(p, (size_t)sysconf(_SC_PAGESIZE));
}

/* ---- data keys ---- */

static int key_new(struct nof_key **out)
{
	struct nof_key *key = secret_alloc();

	if (!key)
		return -ENOMEM;
	atomic_init(&key->refs, 1);
	*out = key;
	return 0;
}

static bool halves_differ(const uint8_t *bytes)
{
	return memcmp(bytes, bytes + NOF_KEY_LEN / 2, NOF_KEY_LEN / 2) != 0;
}

int nof_key_generate(struct nof_key **out)
{
	struct nof_key *key;
	int ret = key_new(&key);

	if (ret)
		return ret;
	if (RAND_priv_bytes(key->bytes, NOF_KEY_LEN) != 1 || !halves_differ(key->bytes)) {
		nof_key_put(key);
		return -EIO;
	}
	*out = key;
	return 0;
}

int nof_key_import(const uint8_t bytes[NOF_KEY_LEN], struct nof_key **out)
{
	struct nof_key *key;
	int ret;

	if (!halves_differ(bytes))
		return -EINVAL;
	ret = key_new(&key);
	if (ret)
		return ret;
	memcpy(key->bytes, bytes, NOF_KEY_LEN);
	*out = key;
	return 0;
}

struct nof_key *nof_key_get(struct nof_key *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void nof_key_put(struct nof_key *key)
{
	// Whoever frees sees what the others did with it.
	if (key && atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) == 1)
		secret_free(key, sizeof(*key));
}

const uint8_t *nof_key_bytes(const struct nof_key *key)
{
	return key->bytes;
}

/* ---- wrapping ---- */

struct gcm {
	EVP_CIPHER_CTX *ctx; // owned
	int len;
};

/* The version is authenticated with the context, so that no later format is taken for this one. */
static int gcm_begin(
	struct gcm *g, const uint8_t *kek, const uint8_t *nonce, const char *context, int encrypt)
{
	uint8_t version = VERSION;
	size_t len = strlen(context);

	if (len > CONTEXT_MAX)
		return -EINVAL;
	g->ctx = EVP_CIPHER_CTX_new();
	if (!g->ctx)
		return -ENOMEM;
	if (EVP_CipherInit_ex(g->ctx, EVP_aes_256_gcm(), NULL, kek, nonce, encrypt) != 1 ||
		EVP_CipherUpdate(g->ctx, NULL, &g->len, &version, 1) != 1 ||
		EVP_CipherUpdate(g->ctx, NULL, &g->len, (const uint8_t *)context, (int)len) != 1) {
		EVP_CIPHER_CTX_free(g->ctx);
		return -EIO;
	}
	return 0;
}

static int file_wrap(struct nof_key_provider *p, const struct nof_key *key, const char *context,
	struct nof_wrapped *out)
{
	uint8_t *nonce = out->bytes + 1, *body = nonce + NONCE_LEN, *tag = body + NOF_KEY_LEN;
	struct gcm g;
	int ret;

	if (RAND_bytes(nonce, NONCE_LEN) != 1)
		return -EIO;
	out->bytes[0] = VERSION;
	ret = gcm_begin(&g, ((struct key_file *)p)->kek, nonce, context, 1);
	if (ret)
		return ret;
	if (EVP_CipherUpdate(g.ctx, body, &g.len, key->bytes, NOF_KEY_LEN) != 1 ||
		EVP_CipherFinal_ex(g.ctx, body + g.len, &g.len) != 1 ||
		EVP_CIPHER_CTX_ctrl(g.ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) != 1)
		ret = -EIO;
	EVP_CIPHER_CTX_free(g.ctx);
	return ret;
}

static int file_unwrap(struct nof_key_provider *p, const struct nof_wrapped *w, const char *context,
	struct nof_key **out)
{
	const uint8_t *nonce = w->bytes + 1, *body = nonce + NONCE_LEN;
	uint8_t tag[TAG_LEN];
	struct nof_key *key;
	struct gcm g;
	int ret;

	if (w->bytes[0] != VERSION)
		return -EPROTONOSUPPORT;
	ret = key_new(&key);
	if (ret)
		return ret;
	ret = gcm_begin(&g, ((struct key_file *)p)->kek, nonce, context, 0);
	if (ret)
		goto err_key;
	memcpy(tag, body + NOF_KEY_LEN, TAG_LEN);
	if (EVP_CipherUpdate(g.ctx, key->bytes, &g.len, body, NOF_KEY_LEN) != 1 ||
		EVP_CIPHER_CTX_ctrl(g.ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1)
		ret = -EIO;
	else if (EVP_CipherFinal_ex(g.ctx, key->bytes + NOF_KEY_LEN, &g.len) != 1)
		ret = -EBADMSG;
	EVP_CIPHER_CTX_free(g.ctx);
	if (!ret && !halves_differ(key->bytes))
		ret = -EBADMSG;
	if (ret)
		goto err_key;
	*out = key;
	return 0;

err_key:
	nof_key_put(key);
	return ret;
}

int nof_key_wrap(struct nof_key_provider *p, const struct nof_key *key, const char *context,
	struct nof_wrapped *out)
{
	return p->ops->wrap(p, key, context, out);
}

int nof_key_unwrap(struct nof_key_provider *p, const struct nof_wrapped *w, const char *context,
	struct nof_key **out)
{
	return p->ops->unwrap(p, w, context, out);
}

/* ---- a key-encryption key in a file ---- */

static void file_close(struct nof_key_provider *p)
{
	struct key_file *f = (struct key_file *)p;

	secret_free(f->kek, KEK_LEN);
	free(f);
}

static const struct nof_key_provider_ops file_ops = {
	.kind = "file",
	.wrap = file_wrap,
	.unwrap = file_unwrap,
	.close = file_close,
};

/* Ours alone: who else may read it has all keys, who else may write it can replace them. */
static int check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != KEK_LEN)
		return -EINVAL;
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0 || st.st_uid != geteuid())
		return -EACCES;
	return 0;
}

static int read_kek(const char *path, uint8_t *kek)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n;
	int ret;

	if (fd < 0)
		return -errno;
	ret = check_file(fd);
	if (!ret) {
		n = read(fd, kek, KEK_LEN);
		if (n != KEK_LEN)
			ret = n < 0 ? -errno : -EIO;
	}
	close(fd);
	return ret;
}

int nof_key_file_open(const char *path, struct nof_key_provider **out)
{
	struct key_file *f = dpu_calloc(1, sizeof(*f));
	int ret = -ENOMEM;

	if (!f)
		return ret;
	f->p.ops = &file_ops;
	f->kek = secret_alloc();
	if (!f->kek)
		goto err_free;
	ret = read_kek(path, f->kek);
	if (ret)
		goto err_kek;
	*out = &f->p;
	return 0;

err_kek:
	secret_free(f->kek, KEK_LEN);
err_free:
	free(f);
	return ret;
}

void nof_key_provider_close(struct nof_key_provider *p)
{
	if (p)
		p->ops->close(p);
}
