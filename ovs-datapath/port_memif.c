// SPDX-License-Identifier: Apache-2.0
/* Memif devices by their arguments: which end, and a server's socket file. */
#include "port_memif.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_kvargs.h>

#include "dpu_log.h"

/* NULL: not a memif. The arguments may be empty. */
static struct rte_kvargs *parse(const char *devargs)
{
	const char *args = strchr(devargs, ',');

	return strncmp(devargs, "net_memif", 9) ? NULL
						: rte_kvargs_parse(args ? args + 1 : "", NULL);
}

static bool is(const struct rte_kvargs *kv, const char *key, const char *value)
{
	const char *v = rte_kvargs_get(kv, key);

	return v && !strcmp(v, value);
}

static bool is_server(const struct rte_kvargs *kv)
{
	return is(kv, "role", "server") || is(kv, "role", "master");
}

bool odp_memif_is_client(const char *devargs)
{
	struct rte_kvargs *kv = parse(devargs);
	bool client = kv && !is_server(kv);

	rte_kvargs_free(kv);
	return client;
}

static bool refused(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(to.sun_path))
		return false;
	memcpy(to.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	err = connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? errno : 0;
	close(fd);
	return err == ECONNREFUSED;
}

void odp_memif_clear_socket(const char *devargs)
{
	struct rte_kvargs *kv = parse(devargs);
	const char *path = kv ? rte_kvargs_get(kv, "socket") : NULL;
	struct stat st;

	if (path && is_server(kv) && is(kv, "socket-abstract", "no") && lstat(path, &st) == 0 &&
		S_ISSOCK(st.st_mode) && refused(path) && unlink(path) == 0)
		dpu_info("uplink: removed the socket of a server that is gone", "path=%s", path);
	rte_kvargs_free(kv);
}
