/* SPDX-License-Identifier: Apache-2.0 */
/* The card's target (nvmeof/, ADR-0015): volumes of the inventory for hosts that come over TCP. */
#pragma once

#include "card.h"
#include "nof_tgt.h"

/* Module: nothing is made before it is asked for. stop ends every association. */
int card_nvmf_start(struct card *c);
void card_nvmf_stop(struct card *c);

/* Make the target with these options: 0, also when it is there with the same; -EEXIST. */
int card_nvmf_create(struct card *c, const struct nof_tgt_opts *opts, struct card_error *e);
/* The target, made now with what it has by default; NULL with e->text: it cannot be made. */
struct nof_tgt *card_nvmf(struct card *c, struct card_error *e);
/* NULL: nobody has asked for one. */
struct nof_tgt *card_nvmf_get(const struct card *c);

/* conf->vol and an identifier nobody gave are filled in from the volume. 0 or -errno. */
int card_nvmf_ns_add(struct card *c, const char *nqn, const char *volume,
	struct nof_tgt_ns_conf *conf, struct card_error *e);
/*
 * Take a namespace, or a subsystem and all it has, from the hosts. 0; -ENODEV; -EBUSY: the hosts
 * have lost it, and it is gone when the same call, made again after turns of the control thread's
 * group, says 0.
 */
int card_nvmf_ns_del(struct card *c, const char *nqn, uint32_t nsid, struct card_error *e);
int card_nvmf_subsys_del(struct card *c, const char *nqn, struct card_error *e);
/* A volume has another size. */
void card_nvmf_resized(struct card *c, const struct vol *vol);
/* The name of the volume of a namespace; "?" when there is none. */
const char *card_nvmf_volume_name(struct card *c, const struct vol *vol);
