/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of NVMe over Fabrics (nvmeof/, ADR-0015): one per worker, as one of its pollers, and
 * one of the control thread, on its event loop.
 */
#pragma once

struct card;
struct card_worker;
struct nof_group;
struct nof_host;

/* Module: after the workers, before whatever opens a channel of a volume. 0 or -errno. */
int card_storage_start(struct card *c);
void card_storage_stop(struct card *c);

/* The group of a worker; of the control thread. Borrowed: they live as long as the module. */
struct nof_group *card_storage_group(struct card *c, const struct card_worker *w);
struct nof_group *card_storage_control(struct card *c);
/* The initiator of this card. Borrowed: lives as long as the module. */
struct nof_host *card_storage_host(struct card *c);
/* What it calls itself, the same after every restart; NULL: the module does not run. */
const char *card_storage_hostnqn(const struct card *c);
/* A round of the control thread's group, for whoever waits outside of the event loop. */
void card_storage_poll(struct card *c);
/* Until it has something to do, or so long: where no event loop waits for it. */
void card_storage_wait(struct card *c, unsigned ms);
