// SPDX-License-Identifier: Apache-2.0
/*
 * Data keys that live as long as the machine is up, and nowhere but in its kernel: payloads of the
 * user keyring (keyrings(7)), found by name. They outlive a process that dies, are written to no
 * disk, and their memory is wiped when they are let go.
 */
#include "nof_key.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TYPE "user"
#define TEXT_MAX 128u
/* One that nobody confirms goes by itself. */
#define UNCONFIRMED_S 60u

static int text_of(const char *name, char out[TEXT_MAX])
{
	int n = snprintf(out, TEXT_MAX, "outboard:%s", name);

	return n > 0 && (unsigned)n < TEXT_MAX ? 0 : -EINVAL;
}

static long ctl(int op, unsigned long a, unsigned long b, unsigned long c)
{
	long ret = syscall(SYS_keyctl, op, a, b, c, 0UL);

	return ret < 0 ? -errno : ret;
}

/*
 * The key's serial number. From our process's own keyring it can be read, which the user's keyring
 * alone, not being one of the session's, does not grant: forget() takes it from there again.
 */
static long find(const char *name)
{
	char text[TEXT_MAX];
	long ret = text_of(name, text);

	if (ret)
		return ret;
	ret = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, TYPE, text,
		KEY_SPEC_PROCESS_KEYRING);
	return ret < 0 ? -errno : ret;
}

static void forget(long serial)
{
	(void)ctl(KEYCTL_UNLINK, (unsigned long)serial, (unsigned long)KEY_SPEC_PROCESS_KEYRING, 0);
}

int nof_key_keep(const struct nof_key *key, const char *name)
{
	char text[TEXT_MAX];
	long serial = find(name);
	int ret = text_of(name, text);

	if (ret)
		return ret;
	if (serial >= 0) {
		forget(serial);
		return -EEXIST;
	}
	serial = syscall(SYS_add_key, TYPE, text, nof_key_bytes(key), (size_t)NOF_KEY_LEN,
		KEY_SPEC_USER_KEYRING);
	if (serial < 0)
		return -errno;
	serial = find(name); // possessed, as KEYCTL_SET_TIMEOUT wants it
	if (serial < 0)
		return (int)serial;
	ret = (int)ctl(KEYCTL_SET_TIMEOUT, (unsigned long)serial, UNCONFIRMED_S, 0);
	forget(serial);
	if (ret < 0) // it would stay for good
		(void)nof_key_let_go(name);
	return ret;
}

int nof_key_kept(const char *name, struct nof_key **out)
{
	uint8_t bytes[NOF_KEY_LEN + 1];
	long serial, n;
	int ret = nof_key_hide();

	if (ret)
		return ret;
	serial = find(name);
	if (serial < 0)
		return serial == -EKEYEXPIRED || serial == -EKEYREVOKED ? -ENOKEY : (int)serial;
	n = syscall(SYS_keyctl, KEYCTL_READ, serial, bytes, sizeof(bytes));
	if (n < 0)
		ret = -errno;
	else
		ret = n == NOF_KEY_LEN ? nof_key_import(bytes, out) : -EBADMSG;
	explicit_bzero(bytes, sizeof(bytes));
	if (!ret) {
		ret = (int)ctl(KEYCTL_SET_TIMEOUT, (unsigned long)serial, 0, 0);
		if (ret)
			nof_key_put(*out);
	}
	forget(serial);
	return ret;
}

int nof_key_let_go(const char *name)
{
	long serial = find(name);
	int ret;

	if (serial < 0)
		return serial == -EKEYEXPIRED || serial == -EKEYREVOKED ? -ENOKEY : (int)serial;
	// Out of every keyring at once, and its payload wiped; unlinking leaves it to who holds it.
	ret = (int)ctl(KEYCTL_INVALIDATE, (unsigned long)serial, 0, 0);
	if (ret)
		forget(serial);
	return ret;
}
