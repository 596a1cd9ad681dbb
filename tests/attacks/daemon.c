// SPDX-License-Identifier: Apache-2.0
/* Starts, watches and ends a cardd for the attack rows. */
#include "atk.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 60000

static int write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	fputs(text, f);
	return fclose(f) ? -errno : 0;
}

static void child(struct atk_daemon *d, const char *config, int ready_fd, pid_t parent)
{
	char rpc[128], dir[128], ready[16], prefix[96];
	const char *cores = getenv("ATK_CORES");
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL); // whatever ends us ends it
	if (getppid() != parent)
		_exit(127);
	if (d->secret)
		setenv("ATK_CANARY", d->secret, 1);
	// What was needed once stays: a heap that shrinks by chance would hide what it grew by
	setenv("MALLOC_TRIM_THRESHOLD_", "1000000000", 1);
	dup2(null, STDOUT_FILENO); // our own lines alone go there

	snprintf(rpc, sizeof(rpc), "%s/rpc", d->dir);
	snprintf(dir, sizeof(dir), "%s", d->dir);
	snprintf(ready, sizeof(ready), "%d", ready_fd);
	snprintf(prefix, sizeof(prefix), "atk%d", (int)getpid());
	execl(d->binary, d->binary, "--name", prefix, "--config", config, "--rpc-socket", rpc,
		"--socket-dir", dir, "--cores", cores ? cores : "0", "--mem-mib", "128", "--mbufs",
		"8191", "--ct-conns", "16384", "--ready-fd", ready, "--log-level", "err",
		(char *)NULL);
	_exit(127);
}

int atk_daemon_start(struct atk_daemon *d)
{
	char config[128], buf[16];
	static const char pattern[] = "/tmp/atk.XXXXXX";
	int fds[2], ret;

	if (!d->dir[0]) {
		memcpy(d->dir, pattern, sizeof(pattern));
		if (!mkdtemp(d->dir)) {
			d->dir[0] = '\0';
			return -errno;
		}
	}
	snprintf(config, sizeof(config), "%s/config", d->dir);
	ret = write_file(config, d->config);
	if (ret)
		return ret;
	if (pipe(fds))
		return -errno;
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	pid_t parent = getpid();

	d->pid = fork();
	if (d->pid == 0)
		child(d, config, fds[1], parent);
	close(fds[1]);
	struct pollfd p = { .fd = fds[0], .events = POLLIN };

	ret = d->pid < 0 ? -errno : 0;
	if (!ret && (poll(&p, 1, START_MS) <= 0 || read(fds[0], buf, sizeof(buf)) <= 0))
		ret = -ECHILD;
	close(fds[0]);
	if (ret)
		atk_daemon_kill(d, SIGKILL);
	return ret;
}

int atk_daemon_kill(struct atk_daemon *d, int sig)
{
	int status = 0;

	if (d->pid <= 0)
		return 0;
	kill(d->pid, sig);
	waitpid(d->pid, &status, 0);
	d->pid = 0;
	return sig == SIGTERM && status != 0 ? -EPROTO : 0; // sanitizers report at the exit
}

bool atk_daemon_alive(struct atk_daemon *d)
{
	if (d->pid <= 0 || waitpid(d->pid, NULL, WNOHANG) == 0)
		return d->pid > 0;
	d->pid = 0;
	return false;
}

/* The rest of a line, however long. */
static int read_line(int fd, char **line)
{
	size_t size = 4096, got = 0;
	char *text = malloc(size);
	int ret = text ? 0 : -ENOMEM;

	while (!ret) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char *more = size - got < 2048 ? realloc(text, size *= 2) : text;
		ssize_t r = more && poll(&p, 1, ATK_REPLY_MS) > 0
				    ? recv(fd, more + got, size - 1 - got, 0)
				    : -1;

		text = more ? more : text;
		if (r <= 0) {
			ret = -ETIMEDOUT;
			break;
		}
		got += (size_t)r;
		text[got] = '\0';
		if (text[got - 1] == '\n')
			break;
	}
	if (ret) {
		free(text);
		text = NULL;
	}
	*line = text;
	return ret;
}

int atk_daemon_ask(struct atk_daemon *d, const char *method, const char *params, char **reply)
{
	char path[128], *text;
	int fd, n, ret = 0;

	*reply = NULL;
	snprintf(path, sizeof(path), "%s/rpc", d->dir);
	fd = drv_connect(path, ATK_REPLY_MS);
	if (fd < 0)
		return fd;
	n = asprintf(&text,
		"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"%s\", \"params\": %s}\n", method,
		params);
	if (n < 0 || send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		ret = -EIO;
	if (n >= 0)
		free(text);
	if (!ret)
		ret = read_line(fd, reply);
	close(fd);
	return ret ? ret : strstr(*reply, "\"error\"") ? -EREMOTEIO : 0;
}

int atk_daemon_rpc(struct atk_daemon *d, const char *method, const char *params)
{
	char *reply;
	int ret = atk_daemon_ask(d, method, params, &reply);

	free(reply);
	return ret;
}

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int atk_daemon_use(const struct atk_daemon *d, struct atk_use *out)
{
	char path[64], line[256];
	FILE *f;

	*out = (struct atk_use){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)d->pid);
	out->fds = count_entries(path);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)d->pid);
	out->threads = count_entries(path);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)d->pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "RssAnon:", 8))
			out->anon_kib = strtoull(line + 8, NULL, 10);
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)d->pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	// Files of front-ends only: what the allocator keeps is in anon_kib
	while (fgets(line, sizeof(line), f))
		out->maps += strstr(line, "/memfd:") != NULL;
	fclose(f);
	return 0;
}
