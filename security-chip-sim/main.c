// SPDX-License-Identifier: Apache-2.0
/*
 * The security chip: one process, one Unix socket, no memory shared with anyone. It holds the
 * measurement registers; keys, quotes, sealing and verified boot join it in their own issue.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "dpu_log.h"
#include "request.h"

static int listen_at(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, ret;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	umask(0177);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 4) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

/* Serve one client until it leaves; the registers outlive it. */
static void serve(struct sec_pcr_bank *bank, int fd)
{
	uint8_t req[SEC_MSG_MAX], res[SEC_MSG_MAX];
	ssize_t n;

	while ((n = recv(fd, req, sizeof(req), MSG_TRUNC)) > 0) {
		// A longer datagram was cut: answer it as the malformed request that it is.
		size_t len = (size_t)n > sizeof(req) ? 0 : (size_t)n;
		size_t out = sec_request(bank, req, len, res);

		if (send(fd, res, out, MSG_NOSIGNAL) < 0)
			break;
	}
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &path, "PATH", "Unix socket to listen on; must not exist",
			0, 0 },
	};
	const struct dpu_cli cli = {
		.prog = "security-chip-sim",
		.summary = "software security chip: measurement registers behind a socket",
		.usage = "--socket PATH",
		.opts = opts,
		.n_opts = sizeof(opts) / sizeof(opts[0]),
	};
	struct sec_pcr_bank bank = { 0 };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret == -ECANCELED)
		return 0;
	if (ret != 0 || !path) {
		if (ret >= 0)
			dpu_cli_help(&cli, stderr);
		return 2;
	}
	int fd = listen_at(path);
	if (fd < 0) {
		dpu_err("chip: cannot listen", "path=%s err=%s", path, strerror(-fd));
		return 1;
	}
	dpu_info("chip: ready", "path=%s pcrs=%d", path, SEC_PCRS);
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		serve(&bank, client);
		close(client);
	}
}
