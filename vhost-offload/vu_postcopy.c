// SPDX-License-Identifier: Apache-2.0
/* POSTCOPY_ADVISE, POSTCOPY_LISTEN, POSTCOPY_END, and memory tables between the latter two. */
#include "vu_postcopy.h"

#include <errno.h>
#include <unistd.h>

#include "dpu_log.h"
#include "postcopy.h"

static void on_ready(void *arg)
{
	vho_dev_start_all(arg);
}

/* An answer without descriptor is the error: the migration ends before anything has moved. */
int vu_postcopy_advise(struct vu_session *s, struct vu_msg *m)
{
	struct vho_dev *dev = s->dev;
	int ret;

	if (dev->postcopy)
		return -EBUSY;
	m->h.size = 0;
	ret = vho_postcopy_create(dev->host->loop, on_ready, dev, &dev->postcopy, &m->reply_fd);
	if (ret < 0)
		dpu_warn_ratelimited("postcopy: not now", "dev=%s err=%d", dev->name, ret);
	return 0;
}

/* Memory that is there already may have been touched, and its pages cannot be told apart. */
int vu_postcopy_listen(struct vu_session *s, struct vu_msg *m)
{
	(void)m;
	if (!s->dev->postcopy)
		return -EINVAL;
	if (s->dev->mem || vho_postcopy_listening(s->dev->postcopy))
		return -EBUSY;
	vho_postcopy_listen(s->dev->postcopy);
	dpu_info("postcopy: memory comes while the guest runs", "dev=%s", s->dev->name);
	return 0;
}

int vu_postcopy_end(struct vu_session *s, struct vu_msg *m)
{
	if (!s->dev->postcopy)
		return -EINVAL;
	vho_dev_end_postcopy(s->dev);
	vho_dev_start_all(s->dev);
	dpu_info("postcopy: all memory is here", "dev=%s", s->dev->name);
	m->h.size = sizeof(m->p.u64);
	m->p.u64 = 0;
	return 0;
}

/* ---- memory tables ---- */

static int ack(struct vu_session *s, struct vu_msg *m)
{
	if (m->h.size == sizeof(m->p.u64) && m->p.u64 != 0)
		return -EINVAL;
	vho_postcopy_await_ack(s->dev->postcopy, false);
	vho_dev_start_all(s->dev);
	return 0;
}

const struct vu_handler *vu_postcopy_ack(const struct vu_session *s, const struct vu_msg *m)
{
	static const struct vu_handler handler = { ack, 0, sizeof(uint64_t), 0, 0, false, 0, 0 };
	bool table = m->h.request == VU_SET_MEM_TABLE || m->h.request == VU_ADD_MEM_REG;

	if (!table || m->n_fds || !s->dev->postcopy || !vho_postcopy_ack_due(s->dev->postcopy))
		return NULL;
	return &handler;
}

int vu_postcopy_set_mem(struct vu_session *s, struct vu_msg *m, struct vho_mem *mem,
	struct vu_region *regions, unsigned n)
{
	struct vho_postcopy *pc = s->dev->postcopy;
	bool late = pc && vho_postcopy_listening(pc);
	int ret = 0;

	for (unsigned i = 0; late && !ret && i < n; i++) {
		const struct vho_mem_map_entry *e = vho_mem_find(mem, regions[i].gpa);
		uint64_t base = vho_postcopy_base(pc, e);

		if (!base)
			ret = vho_postcopy_map(pc, e, m->fds[i], &base);
		regions[i].uva = base;
	}
	if (late && !ret)
		ret = vho_postcopy_keep(pc, mem);
	if (ret)
		return ret;
	if (late && n > 0) {
		vho_postcopy_await_ack(pc, true);
		m->answers = true;
	}
	if (mem != s->dev->mem)
		vho_dev_set_mem(s->dev, mem);
	return 0;
}
