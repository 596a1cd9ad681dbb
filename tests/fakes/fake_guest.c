// SPDX-License-Identifier: Apache-2.0
/*
 * A guest's process in its jail, without KVM. The last word of its command line says what the guest
 * does when it is started: "end=N" (enum hv_end), "refuse" (it refuses the next command), "line"
 * (it prints all of it), or what a vCPU's thread tries that it must not: "socket", "open",
 * "execve".
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_machine.h"
#include "guest.h"

static pthread_t vcpu;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool started;

static const char *last_word(void)
{
	const char *line = fake_machine.conf.cmdline, *blank = strrchr(line, ' ');

	return blank ? blank + 1 : line;
}

static void *vcpu_main(void *arg)
{
	const char *line = fake_machine.conf.cmdline, *what;
	char *none[] = { NULL };

	pthread_mutex_lock(&lock);
	while (!started)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	if (fake_machine_confine())
		return NULL;
	what = last_word();
	if (strcmp(what, "socket") == 0)
		socket(AF_UNIX, SOCK_STREAM, 0);
	else if (strcmp(what, "open") == 0)
		open("/", O_RDONLY);
	else if (strcmp(what, "execve") == 0)
		execve("/bin/true", none, none);
	else if (strcmp(what, "line") == 0)
		fake_machine_print((const uint8_t *)line, (unsigned)strlen(line));
	else
		fake_machine_print((const uint8_t *)"up\n", 3);
	return arg;
}

static void on_start(void)
{
	const char *what = last_word();

	if (strncmp(what, "end=", 4) == 0) {
		fake_machine.end = (enum hv_end)atoi(what + 4);
		fake_machine_wake();
		return;
	}
	if (strcmp(what, "refuse") == 0)
		fake_machine.ret = -ENOMEM;
	pthread_mutex_lock(&lock);
	started = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

int main(void)
{
	fake_machine.on_start = on_start;
	// As a real guest's: there before the filter of main is on.
	if (pthread_create(&vcpu, NULL, vcpu_main, NULL))
		return HV_END_ERROR;
	_exit((int)hv_guest_run());
}
