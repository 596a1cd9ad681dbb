// SPDX-License-Identifier: Apache-2.0
/*
 * Notification coalescing: calls to the driver that wait for more packets, but not for long.
 *
 * A call is held back by whoever would have sent it, the queue's worker. The packets that follow
 * send it once there are enough, or vho_net_coal_poll() when its time has come.
 *
 * Spec: VIRTIO 1.3, section 5.1.6.5.9.
 */
#include <rte_cycles.h>

#include "net_priv.h"

/* The driver's wish is best effort (5.1.6.5.9); longer than this nobody waits. */
#define HOLD_MAX_US 20000u

static void send(struct vho_net *net, unsigned idx, struct vho_coal *c)
{
	struct vho_queue *q = &net->dev.queues[idx].q;

	c->due_tsc = 0;
	c->seen = dpu_counter_read(&q->stats.requests);
	if (q->running && !q->broken)
		vho_queue_notify(q);
}

static struct vho_coal *coal_of(struct vho_net *net, unsigned idx)
{
	return &net->pairs[idx / 2].coal[idx % 2];
}

void vho_net_notify_later(struct vho_net *net, unsigned idx)
{
	uint64_t conf = vho_net_ctrl_coal(&net->ctrl, idx), most, waiting, now;
	const struct vho_queue *q = &net->dev.queues[idx].q;
	struct vho_coal *c = coal_of(net, idx);

	if (!VHO_COAL_USECS(conf)) {
		send(net, idx, c);
		return;
	}
	waiting = dpu_counter_read(&q->stats.requests) - c->seen;
	if (waiting == 0)
		return;
	// With half of its ring in our hands a driver should not have to wait for the rest
	most = VHO_COAL_PACKETS(conf) ? VHO_COAL_PACKETS(conf) : UINT32_MAX;
	most = most < q->size / 2 ? most : q->size / 2;
	now = rte_rdtsc();
	if (!c->due_tsc)
		c->due_tsc = now + RTE_MIN(VHO_COAL_USECS(conf), HOLD_MAX_US) * net->us_tsc;
	if (waiting >= most || now >= c->due_tsc)
		send(net, idx, c);
}

bool vho_net_coalesces(const struct vho_net *net, unsigned idx)
{
	return VHO_COAL_USECS(vho_net_ctrl_coal(&net->ctrl, idx)) > 0;
}

unsigned vho_net_coal_poll(struct vho_net *net, unsigned idx)
{
	struct vho_coal *c = coal_of(net, idx);

	if (!c->due_tsc || rte_rdtsc() < c->due_tsc)
		return 0;
	send(net, idx, c);
	return 1;
}

unsigned vho_net_coal_left_us(struct vho_net *net, unsigned idx)
{
	const struct vho_coal *c = coal_of(net, idx);
	uint64_t now = rte_rdtsc();

	if (!c->due_tsc)
		return 0;
	return now < c->due_tsc ? (unsigned)((c->due_tsc - now) / net->us_tsc) + 1 : 1;
}

void vho_net_coal_flush(struct vho_net *net, unsigned idx)
{
	struct vho_coal *c = coal_of(net, idx);

	if (c->due_tsc)
		send(net, idx, c);
}
