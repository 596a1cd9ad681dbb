// SPDX-License-Identifier: Apache-2.0
/*
 * Opening a volume with checksums: its header is read, or its sum blocks are written and then its
 * header, on a worker, while requests wait.
 */
#include "vol_integrity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dpu_alloc.h"
#include "dpu_id.h"
#include "dpu_log.h"

static struct vol_integrity *of_job(struct vol_job *j)
{
	return (struct vol_integrity *)(void *)((char *)j - offsetof(struct vol_integrity, job));
}

static enum vol_job_next settle(struct vol_integrity *v, int err)
{
	atomic_store_explicit(&v->err, err, memory_order_relaxed);
	atomic_store_explicit(&v->state, err ? INTEG_FAILED : INTEG_READY, memory_order_release);
	return VOL_JOB_ENDS;
}

/* ---- transfers of the job ---- */

static void came(struct vol_io *io, int err)
{
	struct integ_transfer *t = (struct integ_transfer *)io;

	t->busy = false;
	t->j->below--;
	if (err && !t->j->err)
		t->j->err = err;
	vol_job_wake(&t->j->job);
}

static void send(struct integ_transfer *t, enum vol_op op, uint64_t off, uint64_t len, bool fua)
{
	t->iov = (struct iovec){ t->buf, len };
	t->io = (struct vol_io){
		.op = op,
		.off = off,
		.len = len,
		.fua = fua,
		.iov = &t->iov,
		.n_iov = 1,
		.done = came,
	};
	t->busy = true;
	t->j->below++;
	vol_submit(t->j->job.chan, &t->io);
}

/* ---- a header is there ---- */

static void tell(struct nof_msg *m)
{
	struct integ_news *news = (struct integ_news *)m;

	if (news->v) {
		news->v->news = NULL;
		vol_tell(&news->v->l.v);
	}
	free(news);
}

static int take_header(struct vol_integrity *v, const struct vol_sum_header *h)
{
	struct vol_info info;
	uint64_t size;

	vol_info(v->l.lower, &info);
	if (!dpu_is_zero(v->want, 16) && memcmp(v->want, h->uuid, 16) != 0)
		return -ESTALE;
	if (h->block_size != info.block_size)
		return -EBADMSG;
	if (h->size > info.size)
		return -ERANGE;
	if (vol_sum_geo_init(&v->geo, h->size, h->block_size))
		return -EBADMSG;
	memcpy(v->uuid, h->uuid, sizeof(v->uuid));
	v->salt = vol_sum_salt(v->uuid);
	size = v->geo.n_blocks * h->block_size;
	if (size == atomic_exchange_explicit(&v->l.v.size, size, memory_order_acq_rel))
		return 0;
	v->posted = v->control != NULL;
	if (v->posted)
		nof_group_post(v->control, &v->news->msg);
	return 0;
}

/* What stands at the begin of the volume below. True: it is to be made one with checksums. */
static bool judge(struct vol_integrity *v, const uint8_t *area)
{
	struct vol_sum_header h;
	int ret = vol_sum_header_get(area, &h);

	if (ret == -EBADMSG)
		ret = vol_sum_header_get(area + VOL_SUM_COPY_AT, &h);
	if (v->format && v->overwrite)
		return true;
	if (!ret)
		ret = take_header(v, &h);
	else if (ret == -EBADMSG && v->format) {
		if (dpu_is_zero(area, VOL_SUM_HEADER_LEN))
			return true;
		ret = -EEXIST;
	}
	settle(v, ret);
	return false;
}

/* ---- none is there: make one ---- */

/* False: as much as may be is below. */
static bool send_zones(struct vol_integrity *v, struct integ_job *j)
{
	uint64_t n_zones = v->geo.last_zone + (v->geo.last_sums > 0), was = j->zone;

	for (unsigned i = 0; i < FORMAT_DEPTH && j->zone < n_zones; i++) {
		struct integ_transfer *t = &j->w[i];
		uint64_t first = j->zone * v->geo.per_zone;
		uint32_t n = vol_sum_of_zone(&v->geo, j->zone);

		if (t->busy)
			continue;
		for (uint32_t k = 0; k < n; k++)
			vol_sum_init(&v->geo, v->salt, first + k,
				t->buf + (size_t)k * v->geo.block_size);
		j->zone++;
		atomic_store_explicit(&v->done, j->zone, memory_order_relaxed);
		send(t, VOL_WRITE, vol_sum_at(&v->geo, first), (uint64_t)n * v->geo.block_size,
			false);
	}
	if (j->zone == n_zones && j->below == 0)
		j->next = JOB_FLUSH;
	return j->zone > was || j->next == JOB_FLUSH;
}

static void send_header(struct vol_integrity *v, struct integ_job *j)
{
	struct vol_sum_header h = { .block_size = v->geo.block_size, .size = v->made_for };

	memcpy(h.uuid, v->uuid, sizeof(h.uuid));
	memset(j->w[0].buf, 0, VOL_SUM_HEADER_LEN);
	vol_sum_header_put(&h, j->w[0].buf);
	vol_sum_header_put(&h, j->w[0].buf + VOL_SUM_COPY_AT);
	send(&j->w[0], VOL_WRITE, 0, VOL_SUM_HEADER_LEN, true);
}

enum vol_job_next vol_integrity_step(struct vol_job *vj)
{
	struct vol_integrity *v = of_job(vj);
	struct integ_job *j = &v->job;

	if (j->err && j->below == 0)
		return settle(v, j->err);
	if (j->err || (j->below && j->next != JOB_ZONES))
		return VOL_JOB_WAITS;
	switch (j->next) {
	case JOB_ASK:
		send(&j->w[0], VOL_READ, 0, VOL_SUM_HEADER_LEN, false);
		j->next = JOB_JUDGE;
		break;
	case JOB_JUDGE:
		if (!judge(v, j->w[0].buf))
			return VOL_JOB_ENDS;
		atomic_store_explicit(&v->state, INTEG_FORMAT, memory_order_release);
		j->next = JOB_ZONES;
		break;
	case JOB_ZONES:
		if (!send_zones(v, j))
			return VOL_JOB_WAITS;
		break;
	case JOB_FLUSH: // the header comes last
		send(&j->w[0], VOL_FLUSH, 0, 0, false);
		j->next = JOB_HEADER;
		break;
	case JOB_HEADER:
		send_header(v, j);
		j->next = JOB_DONE;
		break;
	case JOB_DONE:
		return settle(v, 0);
	}
	return VOL_JOB_GOES_ON;
}

/* ---- open, close ---- */

void vol_integrity_work(const struct vol *cv, struct vol_work *out)
{
	const struct vol_integrity *v = (const struct vol_integrity *)cv;

	switch (integ_state(v)) {
	case INTEG_CHECK:
		out->kind = VOL_WORK_CHECK;
		break;
	case INTEG_FORMAT:
		out->kind = VOL_WORK_FORMAT;
		out->total = v->geo.n_blocks * v->geo.block_size;
		out->done = atomic_load_explicit(&v->done, memory_order_relaxed) * v->geo.per_zone *
			    v->geo.per_sum * v->geo.block_size;
		if (out->done > out->total)
			out->done = out->total;
		break;
	case INTEG_FAILED:
		out->err = atomic_load_explicit(&v->err, memory_order_relaxed);
		break;
	default:
		break;
	}
}

bool vol_integrity_work_stop(struct vol *v)
{
	return vol_job_stop(&((struct vol_integrity *)v)->job.job);
}

void vol_integrity_uuid(const struct vol *v, uint8_t out[16])
{
	memcpy(out, ((const struct vol_integrity *)v)->uuid, 16);
}

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t len)
{
	if (p)
		munmap(p, len);
}

static void give_back(struct vol_integrity *v)
{
	unmap(v->job.bufs, (size_t)FORMAT_DEPTH * VOL_SUM_AREA);
	unmap(v->mem, v->mem_len);
	if (v->news && v->posted)
		v->news->v = NULL; // on its way: it frees itself
	else
		free(v->news);
	free(v);
}

void vol_integrity_close(struct vol *vol)
{
	struct vol_integrity *v = (struct vol_integrity *)vol;

	vol_job_fini(&v->job.job);
	vol_layer_fini(&v->l);
	give_back(v);
}

/* Memory that nobody has touched costs nothing. */
static int get_memory(struct vol_integrity *v)
{
	uint32_t bs = v->geo.block_size;

	v->mem_len = (size_t)INTEGRITY_SLOTS * 2 * bs;
	v->mem = map(v->mem_len);
	v->job.bufs = map((size_t)FORMAT_DEPTH * VOL_SUM_AREA);
	v->news = dpu_calloc(1, sizeof(*v->news));
	if (!v->mem || !v->job.bufs || !v->news)
		return -ENOMEM;
	v->news->msg.run = tell;
	v->news->v = v;
	for (unsigned i = 0; i < INTEGRITY_SLOTS; i++) {
		v->slot[i].sum = UINT64_MAX;
		v->slot[i].mem = v->mem + (size_t)i * 2 * bs;
		v->slot[i].spare = v->slot[i].mem + bs;
	}
	for (unsigned i = 0; i < FORMAT_DEPTH; i++) {
		v->job.w[i].buf = v->job.bufs + (size_t)i * VOL_SUM_AREA;
		v->job.w[i].j = &v->job;
	}
	return 0;
}

static int init(struct vol_integrity *v, const struct vol_integrity_conf *conf)
{
	struct vol_info info;
	int ret;

	vol_info(conf->lower, &info);
	ret = vol_sum_geo_init(&v->geo, info.size, info.block_size);
	if (ret)
		return ret;
	// The size is the header's. What reads as zeros is said by its sum; what is below makes no
	// difference.
	ret = vol_layer_init(&v->l, &vol_integrity_ops, conf->name, conf->lower, info.block_size,
		VOL_OWN_SIZE | VOL_OWN_ZERO | VOL_OWN_DISCARD);
	if (ret)
		return ret;
	v->made_for = info.size;
	atomic_store_explicit(
		&v->l.v.size, v->geo.n_blocks * info.block_size, memory_order_relaxed);
	v->control = conf->control;
	v->format = conf->format && !info.read_only;
	v->overwrite = conf->overwrite;
	memcpy(v->want, conf->uuid, sizeof(v->want));
	ret = v->format ? dpu_uuid_new(v->uuid) : 0;
	v->salt = vol_sum_salt(v->uuid);
	if (!ret)
		ret = get_memory(v);
	if (!ret)
		ret = vol_job_start(&v->job.job, conf->lower, conf->group, vol_integrity_step);
	if (ret)
		vol_layer_fini(&v->l);
	return ret;
}

int vol_integrity_open(const struct vol_integrity_conf *conf, struct vol **out)
{
	struct vol_integrity *v = dpu_calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return -ENOMEM;
	ret = init(v, conf);
	if (ret) {
		give_back(v);
		return ret;
	}
	*out = &v->l.v;
	return 0;
}
