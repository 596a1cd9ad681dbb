/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that is killed leaves to be cleaned up is mostly memory: unmapping it takes
 * milliseconds, and dismantling the kernel AIO contexts mapped into it (vhost-offload/notify.c)
 * takes two RCU grace periods, tens of milliseconds. The kernel does both before it closes a file
 * or reports the death, and whoever takes over has to wait for these.
 *
 * A keeper is a second process on the same memory, with no files of its own, that sleeps until the
 * first has died. Being the last user of the memory it is the one that cleans up, while the next
 * card is already at work.
 */
#pragma once

/*
 * Start a keeper for this process. It ends by itself once the whole process is dead, and cannot be
 * stopped before. Control thread. 0, or a negative errno: then death takes longer, no more.
 */
int card_keeper_start(void);
