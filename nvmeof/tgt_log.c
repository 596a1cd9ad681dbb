// SPDX-License-Identifier: Apache-2.0
/* Log pages: Base 2.0, section 5.16. */
#include "tgt_ctrl.h"

#include <string.h>

#include "tgt_disc.h"

#define LOG_SUPPORTED_LEN 1024U
#define LOG_BLOCK 512U
#define SMART_TEMPERATURE_K 300U // there is no sensor
#define EFFECT_SUPPORTED 1U
#define EFFECT_CHANGES 2U // logical block content

static void put_le32(struct tgt_out *o, uint32_t v)
{
	dpu_le32 w = dpu_le32_put(v);

	tgt_out_put(o, &w, sizeof(w));
}

static bool is_supported(const struct tgt_ctrl *c, uint32_t lid)
{
	if (c->sub->discovery)
		return lid == NOF_LOG_SUPPORTED || lid == NOF_LOG_DISCOVERY;
	return lid <= NOF_LOG_EFFECTS || (lid == NOF_LOG_ANA && c->sub->ana);
}

static void log_supported(const struct tgt_ctrl *c, struct tgt_out *o)
{
	for (uint32_t lid = 0; lid < LOG_SUPPORTED_LEN / 4; lid++)
		put_le32(o, is_supported(c, lid) ? 1 : 0);
}

static void le64_at(uint8_t *p, uint64_t v)
{
	dpu_le64 w = dpu_le64_put(v);

	memcpy(p, &w, sizeof(w));
}

/* Of the subsystem: that of one namespace is not there. */
static uint16_t log_smart(struct tgt_req *r, struct tgt_out *o)
{
	const struct nof_tgt_subsys *sub = r->q->ctrl->sub;
	uint32_t nsid = dpu_le32_get(r->cmd.nsid);
	uint64_t read = 0, written = 0, reads = 0, writes = 0, errors = 0;
	uint8_t log[LOG_BLOCK] = { 0 };

	if (nsid != 0 && nsid != NOF_NSID_ALL)
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	for (uint32_t i = 1; i <= sub->max_ns; i++) {
		struct vol_stats s;

		if (!tgt_ns_visible(r->q->ctrl, i))
			continue;
		vol_stats(sub->ns[i]->vol, &s);
		read += s.read_bytes;
		written += s.write_bytes;
		reads += s.reads;
		writes += s.writes;
		errors += s.errors;
	}
	log[1] = SMART_TEMPERATURE_K & 0xff;
	log[2] = SMART_TEMPERATURE_K >> 8;
	log[3] = 100; // % of spare blocks
	log[4] = 10;
	le64_at(log + 32, (read + 511999) / 512000);
	le64_at(log + 48, (written + 511999) / 512000);
	le64_at(log + 64, reads);
	le64_at(log + 80, writes);
	le64_at(log + 160, errors);
	tgt_out_put(o, log, sizeof(log));
	return 0;
}

static void log_firmware(struct tgt_out *o)
{
	uint8_t log[LOG_BLOCK] = { 1 }; // slot 1 runs
	size_t len = strlen(OUTBOARD_VERSION);

	memset(log + 8, ' ', 8);
	memcpy(log + 8, OUTBOARD_VERSION, len < 8 ? len : 8);
	tgt_out_put(o, log, sizeof(log));
}

static void log_changed(const struct tgt_ctrl *c, struct tgt_out *o)
{
	if (c->n_changed > NOF_LOG_CHANGED_MAX) {
		put_le32(o, NOF_NSID_ALL);
	} else {
		for (uint32_t i = 0; i < c->n_changed; i++)
			put_le32(o, c->changed[i]);
	}
	tgt_out_zero(o, NOF_LOG_CHANGED_MAX * 4 - o->pos);
}

static void log_effects(struct tgt_out *o)
{
	static const struct {
		uint16_t at; // of admin commands, then of I/O commands
		uint8_t effects;
	} list[] = {
		{ NOF_ADM_GET_LOG, EFFECT_SUPPORTED },
		{ NOF_ADM_IDENTIFY, EFFECT_SUPPORTED },
		{ NOF_ADM_ABORT, EFFECT_SUPPORTED },
		{ NOF_ADM_SET_FEATURES, EFFECT_SUPPORTED },
		{ NOF_ADM_GET_FEATURES, EFFECT_SUPPORTED },
		{ NOF_ADM_AER, EFFECT_SUPPORTED },
		{ NOF_ADM_KEEP_ALIVE, EFFECT_SUPPORTED },
		{ 256 + NOF_NVM_FLUSH, EFFECT_SUPPORTED },
		{ 256 + NOF_NVM_WRITE, EFFECT_SUPPORTED | EFFECT_CHANGES },
		{ 256 + NOF_NVM_READ, EFFECT_SUPPORTED },
		{ 256 + NOF_NVM_COMPARE, EFFECT_SUPPORTED },
		{ 256 + NOF_NVM_WRITE_ZEROES, EFFECT_SUPPORTED | EFFECT_CHANGES },
		{ 256 + NOF_NVM_DSM, EFFECT_SUPPORTED | EFFECT_CHANGES },
	};
	dpu_le32 log[NOF_IDENTIFY_LEN / 4] = { 0 };

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		log[list[i].at] = dpu_le32_put(list[i].effects);
	tgt_out_put(o, log, sizeof(log));
}

/* Base 5.16.1.13: groups that have namespaces this controller sees. */
static void log_ana(const struct tgt_ctrl *c, struct tgt_out *o, bool groups_only)
{
	uint32_t n[NOF_TGT_ANA_GROUPS + 1] = { 0 };
	struct nof_ana_log h = { .chgcnt = dpu_le64_put(c->sub->ana_changes) };
	uint16_t n_groups = 0;

	for (uint32_t i = 1; i <= c->sub->max_ns; i++)
		if (tgt_ns_visible(c, i) && n[c->sub->ns[i]->anagrpid]++ == 0)
			n_groups++;
	h.ngrps = dpu_le16_put(n_groups);
	tgt_out_put(o, &h, sizeof(h));
	for (uint32_t g = 1; g <= NOF_TGT_ANA_GROUPS; g++) {
		struct nof_ana_group d = {
			.grpid = dpu_le32_put(g),
			.nnsids = dpu_le32_put(groups_only ? 0 : n[g]),
			.chgcnt = h.chgcnt,
			.state = tgt_ana_of(c, g),
		};

		if (n[g] == 0)
			continue;
		tgt_out_put(o, &d, sizeof(d));
		for (uint32_t i = 1; i <= c->sub->max_ns && !groups_only; i++)
			if (tgt_ns_visible(c, i) && c->sub->ns[i]->anagrpid == g)
				put_le32(o, i);
	}
}

static uint16_t put_log(struct tgt_req *r, uint32_t cdw10, struct tgt_out *o)
{
	const struct tgt_ctrl *c = r->q->ctrl;

	switch (cdw10 & 0xff) {
	case NOF_LOG_SUPPORTED:
		log_supported(c, o);
		return 0;
	case NOF_LOG_ERROR:
		tgt_out_zero(o, 64); // one entry; nothing is kept
		return 0;
	case NOF_LOG_SMART:
		return log_smart(r, o);
	case NOF_LOG_FIRMWARE:
		log_firmware(o);
		return 0;
	case NOF_LOG_CHANGED_NS:
		log_changed(c, o);
		return 0;
	case NOF_LOG_EFFECTS:
		log_effects(o);
		return 0;
	case NOF_LOG_ANA:
		log_ana(c, o, cdw10 & NOF_LOG_ANA_RGO);
		return 0;
	default:
		tgt_log_discovery(c, o);
		return 0;
	}
}

uint16_t tgt_get_log(struct tgt_req *r)
{
	uint32_t cdw10 = dpu_le32_get(r->cmd.cdw10);
	uint64_t off = (uint64_t)dpu_le32_get(r->cmd.cdw13) << 32 | dpu_le32_get(r->cmd.cdw12);
	struct tgt_out o;
	uint16_t status;

	if (!is_supported(r->q->ctrl, cdw10 & 0xff))
		return NOF_SC_INVALID_LOG | NOF_SC_DNR;
	if (off & 3)
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	tgt_out_init(&o, r, off);
	status = put_log(r, cdw10, &o);
	if (!status && off > o.pos)
		status = NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	return status;
}
