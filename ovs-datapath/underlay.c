// SPDX-License-Identifier: Apache-2.0
/* Interfaces, addresses and routes of the underlay, and what paths over them come to. */
#include "underlay.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "inet.h"
#include "neigh.h"

#define ANSWERS_SOURCE 100u // in a second
#define ANSWERS_ALL 1000u
#define ANSWERS_KNOWN 4000u
#define ECHOES_SOURCE 100u // in a second
#define ECHOES_ALL 1000u
#define PMTU_AGE_NS (600ull * 1000000000) // RFC 1191, section 6.3; RFC 8201, section 4

int odp_ul_create(const struct odp_ul_conf *conf, uint64_t now_ns, struct odp_ul **out)
{
	struct odp_ul *ul = dpu_calloc(1, sizeof(*ul));

	if (!ul)
		return -ENOMEM;
	ul->conf = *conf;
	ul->conf.seed.mul |= 1;
	ul->now_ns = now_ns;
	for (unsigned known = 0; known < 2; known++) {
		ul->answers[known].source_per_s = ANSWERS_SOURCE;
		ul->answers[known].total_per_s = known ? ANSWERS_KNOWN : ANSWERS_ALL;
	}
	ul->echoes.source_per_s = ECHOES_SOURCE;
	ul->echoes.total_per_s = ECHOES_ALL;
	if (!ul->conf.paths_max)
		ul->conf.paths_max = 4096;
	if (!ul->conf.neighs_max)
		ul->conf.neighs_max = 1024;
	if (!ul->conf.routes_max)
		ul->conf.routes_max = 1024;
	if (!ul->conf.wait_max)
		ul->conf.wait_max = 256;
	if (ul->conf.paths_max >= UINT16_MAX || ul->conf.neighs_max >= UINT16_MAX) {
		free(ul);
		return -EINVAL;
	}
	ul->routes = dpu_calloc(ul->conf.routes_max, sizeof(*ul->routes));
	ul->neighs = dpu_calloc(ul->conf.neighs_max, sizeof(*ul->neighs));
	ul->paths = dpu_calloc(ul->conf.paths_max, sizeof(*ul->paths));
	if (!ul->routes || !ul->neighs || !ul->paths) {
		odp_ul_destroy(ul);
		return -ENOMEM;
	}
	for (unsigned i = ul->conf.paths_max; i > 0; i--) {
		ul->paths[i - 1].next = ul->free_path;
		ul->free_path = (uint16_t)i;
	}
	*out = ul;
	return 0;
}

void odp_ul_destroy(struct odp_ul *ul)
{
	if (!ul)
		return;
	if (ul->neighs)
		for (unsigned i = 0; i < ul->conf.neighs_max; i++)
			odp_neigh_drop_waiting(ul, &ul->neighs[i], NULL);
	free(ul->routes);
	free(ul->neighs);
	free(ul->paths);
	free(ul);
}

void odp_ul_stats(const struct odp_ul *ul, struct odp_ul_stats *out)
{
	*out = ul->stats;
}

bool odp_ul_is_idle(const struct odp_ul *ul)
{
	for (unsigned i = 0; i < ODP_UL_IFS; i++)
		if (ul->ifs[i].used)
			return false;
	return true;
}

void odp_ul_if_foreach(
	const struct odp_ul *ul, void (*fn)(const struct odp_ul_if_info *i, void *arg), void *arg)
{
	for (unsigned i = 0; i < ODP_UL_IFS; i++) {
		const struct odp_ul_if *f = &ul->ifs[i];
		struct odp_ul_if_info info = { .port = f->port, .vlan = f->vlan, .mtu = f->mtu };

		memcpy(info.mac, f->mac, sizeof(info.mac));
		if (f->used)
			fn(&info, arg);
	}
}

static void changed(struct odp_ul *ul, uint32_t port)
{
	if (ul->conf.changed)
		ul->conf.changed(ul->conf.arg, port);
}

/* ---- addresses ---- */

void odp_ul_addr_foreach(
	const struct odp_ul *ul, void (*fn)(const struct odp_ul_addr_info *a, void *arg), void *arg)
{
	for (unsigned i = 0; i < ODP_UL_ADDRS; i++) {
		const struct odp_ul_addr *a = &ul->addrs[i];
		const struct odp_ul_addr_info info = { .ip = a->ip,
			.prefix_len = a->prefix_len,
			.port = ul->ifs[a->iface].port,
			.vlan = ul->ifs[a->iface].vlan };

		if (a->ip.family)
			fn(&info, arg);
	}
}

static unsigned bits_of(uint8_t family)
{
	return family == 4 ? 32 : family == 6 ? 128 : 0;
}

static bool prefix_eq(const uint8_t *a, const uint8_t *b, unsigned len)
{
	uint8_t mask = (uint8_t)(0xff00u >> len % 8);

	return memcmp(a, b, len / 8) == 0 &&
	       (len % 8 == 0 || ((a[len / 8] ^ b[len / 8]) & mask) == 0);
}

bool odp_ip_is_unicast(const struct odp_ip *ip)
{
	static const uint8_t zero[16];

	if (ip->family == 4)
		return ip->a[0] != 0 && ip->a[0] < 224 && ip->a[0] != 127 &&
		       memcmp(ip->a + 4, zero, 12) == 0;
	return ip->family == 6 && ip->a[0] != 0xff && memcmp(ip->a, zero, 15) != 0;
}

static struct odp_ul_if *if_find(struct odp_ul *ul, uint32_t port, uint16_t vlan, unsigned *idx)
{
	for (unsigned i = 0; i < ODP_UL_IFS; i++) {
		struct odp_ul_if *f = &ul->ifs[i];

		if (f->used && f->port == port && f->vlan == vlan) {
			*idx = i;
			return f;
		}
	}
	return NULL;
}

const uint8_t *odp_ul_if_mac(const struct odp_ul *ul, uint32_t port, uint16_t vlan)
{
	for (unsigned i = 0; i < ODP_UL_IFS; i++)
		if (ul->ifs[i].used && ul->ifs[i].port == port && ul->ifs[i].vlan == vlan)
			return ul->ifs[i].mac;
	return NULL;
}

bool odp_ul_on_port(const struct odp_ul *ul, uint32_t port)
{
	for (unsigned i = 0; i < ODP_UL_IFS; i++)
		if (ul->ifs[i].used && ul->ifs[i].port == port)
			return true;
	return false;
}

bool odp_ul_if_has(const struct odp_ul *ul, unsigned iface, const struct odp_ip *ip)
{
	for (unsigned i = 0; i < ODP_UL_ADDRS; i++)
		if (ul->addrs[i].ip.family && ul->addrs[i].iface == iface &&
			odp_ip_eq(&ul->addrs[i].ip, ip))
			return true;
	return false;
}

bool odp_ul_addr_is_ours(const struct odp_ul *ul, const struct odp_ip *ip)
{
	for (unsigned i = 0; i < ODP_UL_ADDRS; i++)
		if (ul->addrs[i].ip.family && odp_ip_eq(&ul->addrs[i].ip, ip))
			return true;
	return false;
}

const struct odp_ip *odp_ul_src_for(
	const struct odp_ul *ul, unsigned iface, const struct odp_ip *to)
{
	const struct odp_ip *any = NULL;

	for (unsigned i = 0; i < ODP_UL_ADDRS; i++) {
		const struct odp_ul_addr *a = &ul->addrs[i];

		if (a->ip.family != to->family || a->iface != iface || !a->ip.family)
			continue;
		if (prefix_eq(a->ip.a, to->a, a->prefix_len))
			return &a->ip;
		if (!any)
			any = &a->ip;
	}
	return any;
}

/* Workers are told of an address of ours, and of its interface's MAC address. */
static void mark_addr(struct odp_ul *ul, const struct odp_ul_addr *a, int by)
{
	const struct odp_ul_if *f = &ul->ifs[a->iface];
	size_t n = a->ip.family == 4 ? 4 : 16;

	odp_ul_mark(ul, ODP_UL_OURS, odp_ul_mark_hash(ul, f->port, f->vlan, a->ip.a, n), by);
}

static void mark_mac(struct odp_ul *ul, const struct odp_ul_if *f, int by)
{
	odp_ul_mark(ul, ODP_UL_OUR_MAC, odp_ul_mark_hash(ul, f->port, f->vlan, f->mac, 6), by);
}

/* ---- paths ---- */

static const struct odp_ul_route *lookup(const struct odp_ul *ul, const struct odp_ip *dst)
{
	for (unsigned i = 0; i < ul->n_routes; i++) {
		const struct odp_ul_route *r = &ul->routes[i];

		if (r->net.family == dst->family && prefix_eq(r->net.a, dst->a, r->prefix_len))
			return r;
	}
	return NULL;
}

static enum odp_ul_state state_over(const struct odp_neigh *n)
{
	switch (n->state) {
	case ODP_NEIGH_REACHABLE:
	case ODP_NEIGH_STALE:
	case ODP_NEIGH_PROBE:
		return ODP_UL_READY;
	case ODP_NEIGH_FAILED:
		return ODP_UL_FAILED;
	default:
		return ODP_UL_RESOLVING;
	}
}

/* What the path comes to over its route and neighbour; zero where there is nothing to say. */
static void hop_of(struct odp_ul *ul, const struct odp_ul_path *p, const struct odp_ul_if *f,
	struct odp_ul_hop *h)
{
	const struct odp_neigh *n = &ul->neighs[p->neigh - 1];
	const struct odp_ip *src = p->src.family ? &p->src : odp_ul_src_for(ul, n->iface, &n->ip);

	if (!src)
		return; // an interface that cannot speak to it
	h->state = state_over(n);
	h->port = f->port;
	h->src = *src;
	if (h->state != ODP_UL_READY)
		return;
	memcpy(h->link.eth_dst, n->mac, 6);
	memcpy(h->link.eth_src, f->mac, 6);
	h->link.vlan = f->vlan;
	h->link.mtu = p->pmtu && p->pmtu < f->mtu ? p->pmtu : f->mtu;
}

static bool hop_eq(const struct odp_ul_hop *a, const struct odp_ul_hop *b)
{
	return a->state == b->state && a->port == b->port && odp_ip_eq(&a->src, &b->src) &&
	       memcmp(&a->link, &b->link, sizeof(a->link)) == 0;
}

static void release_waiting(struct odp_ul *ul, struct odp_ul_path *p)
{
	struct odp_neigh *n = &ul->neighs[p->neigh - 1];
	struct rte_mbuf *mine[ODP_UL_WAIT];
	unsigned n_mine = 0, kept = 0;

	for (unsigned i = 0; i < n->n_waiting; i++) {
		if (n->waits_for[i] == p) {
			mine[n_mine++] = n->waiting[i];
		} else {
			n->waiting[kept] = n->waiting[i];
			n->waits_for[kept++] = n->waits_for[i];
		}
	}
	n->n_waiting = kept;
	ul->stats.waiting -= n_mine;
	for (unsigned i = 0; i < n_mine; i++)
		ul->conf.ready(ul->conf.arg, p, mine[i]);
}

/* Look at route, neighbour and MTU again. Another generation only when that made a difference. */
static void path_update(struct odp_ul *ul, struct odp_ul_path *p)
{
	const struct odp_ul_route *r = odp_ul_addr_is_ours(ul, &p->dst) ? NULL
									: lookup(ul, &p->dst);
	struct odp_ul_hop h;
	uint16_t was = p->neigh;
	unsigned iface;
	const struct odp_ul_if *f = r ? if_find(ul, r->port, r->vlan, &iface) : NULL;

	memset(&h, 0, sizeof(h));
	p->neigh = f ? odp_neigh_get(ul, iface, r->gw.family ? &r->gw : &p->dst) : 0;
	if (was) {
		if (was != p->neigh)
			odp_neigh_drop_waiting(ul, &ul->neighs[was - 1], p);
		odp_neigh_put(ul, was);
	}
	if (p->neigh)
		hop_of(ul, p, f, &h);
	if (!hop_eq(&h, &p->hop)) {
		p->hop = h;
		atomic_fetch_add_explicit(&p->gen, 1, memory_order_release);
	}
	if (p->neigh && h.state == ODP_UL_READY)
		release_waiting(ul, p);
}

static void update_all(struct odp_ul *ul)
{
	for (unsigned i = 0; i < ul->conf.paths_max; i++)
		if (ul->paths[i].refs)
			path_update(ul, &ul->paths[i]);
}

void odp_ul_neigh_changed(struct odp_ul *ul, const struct odp_neigh *n)
{
	uint16_t idx = (uint16_t)(n - ul->neighs + 1);

	for (unsigned i = 0; i < ul->conf.paths_max; i++)
		if (ul->paths[i].refs && ul->paths[i].neigh == idx)
			path_update(ul, &ul->paths[i]);
}

static unsigned bucket(const struct odp_ip *dst)
{
	return (dst->a[3] ^ dst->a[2] * 3u ^ dst->a[15] ^ dst->a[14] * 3u ^ dst->a[7]) %
	       ODP_UL_BUCKETS;
}

int odp_ul_path_get(struct odp_ul *ul, const struct odp_ip *dst, const struct odp_ip *src,
	struct odp_ul_path **out)
{
	uint16_t *head = &ul->buckets[bucket(dst)];
	struct odp_ul_path *p;
	uint16_t idx;

	if (!odp_ip_is_unicast(dst) || (src->family && src->family != dst->family))
		return -EINVAL;
	for (idx = *head; idx; idx = p->next) {
		p = &ul->paths[idx - 1];
		if (odp_ip_eq(&p->dst, dst) && odp_ip_eq(&p->src, src)) {
			p->refs++;
			*out = p;
			return 0;
		}
	}
	idx = ul->free_path;
	if (!idx)
		return -ENOSPC;
	p = &ul->paths[idx - 1];
	ul->free_path = p->next;
	p->next = *head;
	*head = idx;
	p->dst = *dst;
	p->src = *src;
	p->refs = 1;
	ul->stats.paths++;
	path_update(ul, p);
	if (p->neigh)
		odp_neigh_use(ul, &ul->neighs[p->neigh - 1]);
	*out = p;
	return 0;
}

void odp_ul_path_put(struct odp_ul *ul, struct odp_ul_path *p)
{
	uint16_t idx = (uint16_t)(p - ul->paths + 1);
	uint16_t *at = &ul->buckets[bucket(&p->dst)];

	if (--p->refs > 0)
		return;
	while (*at != idx)
		at = &ul->paths[*at - 1].next;
	*at = p->next;
	if (p->neigh) {
		odp_neigh_drop_waiting(ul, &ul->neighs[p->neigh - 1], p);
		odp_neigh_put(ul, p->neigh);
	}
	p->neigh = 0;
	p->pmtu = 0;
	memset(&p->hop, 0, sizeof(p->hop));
	atomic_store_explicit(&p->used, 0, memory_order_relaxed);
	// What was composed from it is outdated; so is it for the next path in this place.
	atomic_fetch_add_explicit(&p->gen, 1, memory_order_release);
	p->next = ul->free_path;
	ul->free_path = idx;
	ul->stats.paths--;
}

const struct odp_ul_path *odp_ul_path_find(
	const struct odp_ul *ul, const struct odp_ip *src, const struct odp_ip *dst)
{
	for (uint16_t i = ul->buckets[bucket(dst)]; i; i = ul->paths[i - 1].next) {
		const struct odp_ul_path *p = &ul->paths[i - 1];

		if (odp_ip_eq(&p->dst, dst) && odp_ip_eq(&p->hop.src, src))
			return p;
	}
	return NULL;
}

int odp_ul_wait(struct odp_ul *ul, struct odp_ul_path *p, struct rte_mbuf *m)
{
	struct odp_neigh *n;
	int ret = 0;

	if (p->hop.state == ODP_UL_NO_ROUTE) {
		ret = -ENETUNREACH;
	} else {
		n = &ul->neighs[p->neigh - 1];
		odp_neigh_use(ul, n);
		if (p->hop.state == ODP_UL_READY) {
			ul->conf.ready(ul->conf.arg, p, m);
			return 0;
		}
		if (p->hop.state == ODP_UL_FAILED)
			ret = -EHOSTUNREACH;
		else if (n->n_waiting < ODP_UL_WAIT && ul->stats.waiting >= ul->conf.wait_max)
			ret = -ENOBUFS;
	}
	if (ret == 0) {
		m = odp_own(m, ul->conf.pool);
		if (!m)
			ret = -ENOBUFS;
	}
	if (ret < 0) {
		rte_pktmbuf_free(m);
		ul->stats.wait_dropped++;
		return ret;
	}
	if (n->n_waiting == ODP_UL_WAIT) {
		odp_neigh_lost(ul, n->waiting[0]);
		n->n_waiting--;
		memmove(n->waiting, n->waiting + 1, n->n_waiting * sizeof(n->waiting[0]));
		memmove(n->waits_for, n->waits_for + 1, n->n_waiting * sizeof(n->waits_for[0]));
	}
	n->waiting[n->n_waiting] = m;
	n->waits_for[n->n_waiting++] = p;
	ul->stats.waiting++;
	return 0;
}

void odp_ul_pmtu_set(struct odp_ul *ul, const struct odp_ip *dst, uint16_t mtu)
{
	for (uint16_t i = ul->buckets[bucket(dst)]; i; i = ul->paths[i - 1].next) {
		struct odp_ul_path *p = &ul->paths[i - 1];

		if (!odp_ip_eq(&p->dst, dst))
			continue;
		p->pmtu = mtu;
		p->pmtu_until_ns = ul->now_ns + PMTU_AGE_NS;
		path_update(ul, p);
	}
}

void odp_ul_tick(struct odp_ul *ul, uint64_t now_ns)
{
	ul->now_ns = now_ns;
	for (unsigned i = 0; i < ul->conf.paths_max; i++) {
		struct odp_ul_path *p = &ul->paths[i];

		if (!p->refs)
			continue;
		if (p->pmtu && now_ns >= p->pmtu_until_ns) {
			p->pmtu = 0;
			path_update(ul, p);
		}
		if (atomic_exchange_explicit(&p->used, 0, memory_order_relaxed) && p->neigh)
			odp_neigh_use(ul, &ul->neighs[p->neigh - 1]);
	}
	for (unsigned i = 0; i < ul->conf.neighs_max; i++)
		if (ul->neighs[i].state != ODP_NEIGH_NONE)
			odp_neigh_tick(ul, &ul->neighs[i]);
}

/* ---- what the operator sets ---- */

int odp_ul_if_set(
	struct odp_ul *ul, uint32_t port, uint16_t vlan, const uint8_t mac[6], uint16_t mtu)
{
	static const uint8_t none[6];
	unsigned i = 0;
	struct odp_ul_if *f = if_find(ul, port, vlan, &i);

	// IPv6 wants 1280 bytes; a tunnel over less is no use to anybody.
	if ((mac[0] & 1) || memcmp(mac, none, 6) == 0 || mtu < 1280 || (vlan && !(vlan & 0x1000)))
		return -EINVAL;
	for (; !f && i < ODP_UL_IFS; i++)
		if (!ul->ifs[i].used)
			f = &ul->ifs[i];
	if (!f)
		return -ENOSPC;
	if (f->used)
		mark_mac(ul, f, -1);
	f->used = true;
	f->port = port;
	f->vlan = vlan;
	f->mtu = mtu;
	memcpy(f->mac, mac, 6);
	mark_mac(ul, f, 1);
	update_all(ul);
	changed(ul, port);
	return 0;
}

static void routes_drop(struct odp_ul *ul, uint32_t port, uint16_t vlan)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < ul->n_routes; i++)
		if (ul->routes[i].port != port || ul->routes[i].vlan != vlan)
			ul->routes[kept++] = ul->routes[i];
	ul->n_routes = kept;
}

int odp_ul_if_del(struct odp_ul *ul, uint32_t port, uint16_t vlan)
{
	unsigned idx;
	struct odp_ul_if *f = if_find(ul, port, vlan, &idx);

	if (!f)
		return -ENOENT;
	for (unsigned i = 0; i < ODP_UL_ADDRS; i++) {
		if (!ul->addrs[i].ip.family || ul->addrs[i].iface != idx)
			continue;
		mark_addr(ul, &ul->addrs[i], -1);
		memset(&ul->addrs[i], 0, sizeof(ul->addrs[i]));
	}
	routes_drop(ul, port, vlan);
	for (unsigned i = 0; i < ul->conf.neighs_max; i++) {
		struct odp_neigh *n = &ul->neighs[i];

		if (n->state != ODP_NEIGH_NONE && n->iface == idx && n->is_static) {
			n->is_static = false;
			n->refs++;
			odp_neigh_put(ul, (uint16_t)(i + 1));
		}
	}
	mark_mac(ul, f, -1);
	memset(f, 0, sizeof(*f));
	update_all(ul);
	changed(ul, port);
	return 0;
}

static int route_insert(struct odp_ul *ul, const struct odp_ul_route *r)
{
	unsigned at = 0;

	if (ul->n_routes == ul->conf.routes_max)
		return -ENOSPC;
	for (unsigned i = 0; i < ul->n_routes; i++)
		if (ul->routes[i].prefix_len == r->prefix_len &&
			odp_ip_eq(&ul->routes[i].net, &r->net))
			return -EEXIST;
	while (at < ul->n_routes && ul->routes[at].prefix_len >= r->prefix_len)
		at++;
	memmove(&ul->routes[at + 1], &ul->routes[at], (ul->n_routes - at) * sizeof(*r));
	ul->routes[at] = *r;
	ul->n_routes++;
	return 0;
}

/* Bits behind the prefix become zero; true when they were. */
static bool clip(struct odp_ip *ip, unsigned len)
{
	struct odp_ip was = *ip;

	for (unsigned i = len / 8 + (len % 8 != 0); i < sizeof(ip->a); i++)
		ip->a[i] = 0;
	if (len % 8)
		ip->a[len / 8] &= (uint8_t)(0xff00u >> len % 8);
	return odp_ip_eq(&was, ip);
}

int odp_ul_addr_add(struct odp_ul *ul, uint32_t port, uint16_t vlan, const struct odp_ip *ip,
	unsigned prefix_len)
{
	struct odp_ul_route r = {
		.net = *ip, .prefix_len = prefix_len, .port = port, .vlan = vlan, .connected = true
	};
	unsigned iface, i = 0;
	int ret;

	if (!odp_ip_is_unicast(ip) || prefix_len > bits_of(ip->family))
		return -EINVAL;
	if (!if_find(ul, port, vlan, &iface))
		return -ENODEV;
	if (odp_ul_addr_is_ours(ul, ip))
		return -EEXIST;
	while (i < ODP_UL_ADDRS && ul->addrs[i].ip.family)
		i++;
	if (i == ODP_UL_ADDRS)
		return -ENOSPC;
	(void)clip(&r.net, prefix_len);
	ret = route_insert(ul, &r);
	// A second address in the same network shares its route.
	if (ret < 0 && ret != -EEXIST)
		return ret;
	ul->addrs[i] = (struct odp_ul_addr){ *ip, prefix_len, iface };
	mark_addr(ul, &ul->addrs[i], 1);
	update_all(ul);
	changed(ul, port);
	return 0;
}

static int route_remove(struct odp_ul *ul, const struct odp_ip *net, unsigned len, bool connected)
{
	for (unsigned i = 0; i < ul->n_routes; i++) {
		struct odp_ul_route *r = &ul->routes[i];

		if (r->prefix_len != len || !odp_ip_eq(&r->net, net))
			continue;
		if (r->connected != connected)
			return -EBUSY;
		ul->n_routes--;
		memmove(r, r + 1, (ul->n_routes - i) * sizeof(*r));
		return 0;
	}
	return -ENOENT;
}

int odp_ul_addr_del(struct odp_ul *ul, const struct odp_ip *ip)
{
	struct odp_ul_addr gone;
	struct odp_ip net = *ip;
	unsigned i = 0;
	bool last = true;

	while (i < ODP_UL_ADDRS && !(ul->addrs[i].ip.family && odp_ip_eq(&ul->addrs[i].ip, ip)))
		i++;
	if (i == ODP_UL_ADDRS)
		return -ENOENT;
	gone = ul->addrs[i];
	mark_addr(ul, &gone, -1);
	memset(&ul->addrs[i], 0, sizeof(ul->addrs[i]));
	(void)clip(&net, gone.prefix_len);
	for (i = 0; i < ODP_UL_ADDRS; i++) {
		const struct odp_ul_addr *a = &ul->addrs[i];

		if (a->ip.family == ip->family && a->prefix_len == gone.prefix_len &&
			a->iface == gone.iface && prefix_eq(a->ip.a, ip->a, gone.prefix_len))
			last = false;
	}
	if (last)
		(void)route_remove(ul, &net, gone.prefix_len, true);
	update_all(ul);
	changed(ul, ul->ifs[gone.iface].port);
	return 0;
}

int odp_ul_route_add(struct odp_ul *ul, const struct odp_ul_route *route)
{
	struct odp_ul_route r = *route;
	unsigned iface;
	int ret;

	if (r.net.family == 0 || r.prefix_len > bits_of(r.net.family) ||
		!clip(&r.net, r.prefix_len) ||
		(r.gw.family && (r.gw.family != r.net.family || !odp_ip_is_unicast(&r.gw))))
		return -EINVAL;
	if (!if_find(ul, r.port, r.vlan, &iface))
		return -ENODEV;
	r.connected = false;
	ret = route_insert(ul, &r);
	if (ret == 0)
		update_all(ul);
	return ret;
}

int odp_ul_route_del(struct odp_ul *ul, const struct odp_ip *net, unsigned prefix_len)
{
	int ret = route_remove(ul, net, prefix_len, false);

	if (ret == 0)
		update_all(ul);
	return ret;
}

void odp_ul_route_foreach(
	const struct odp_ul *ul, void (*fn)(const struct odp_ul_route *r, void *arg), void *arg)
{
	for (unsigned i = 0; i < ul->n_routes; i++)
		fn(&ul->routes[i], arg);
}

int odp_ul_neigh_set(struct odp_ul *ul, uint32_t port, uint16_t vlan, const struct odp_ip *ip,
	const uint8_t mac[6])
{
	unsigned iface;
	struct odp_neigh *n;
	uint16_t idx;

	if (!odp_ip_is_unicast(ip) || (mac[0] & 1))
		return -EINVAL;
	if (!if_find(ul, port, vlan, &iface))
		return -ENODEV;
	n = odp_neigh_find(ul, iface, ip);
	if (!n) {
		idx = odp_neigh_get(ul, iface, ip);
		if (!idx)
			return -ENOSPC;
		n = &ul->neighs[idx - 1];
		n->refs--;
	}
	n->is_static = true;
	n->state = ODP_NEIGH_REACHABLE;
	odp_neigh_mark(ul, n);
	memcpy(n->mac, mac, 6);
	odp_ul_neigh_changed(ul, n);
	return 0;
}

int odp_ul_neigh_del(struct odp_ul *ul, const struct odp_ip *ip)
{
	for (unsigned i = 0; i < ul->conf.neighs_max; i++) {
		struct odp_neigh *n = &ul->neighs[i];

		if (n->state == ODP_NEIGH_NONE || !n->is_static || !odp_ip_eq(&n->ip, ip))
			continue;
		n->is_static = false;
		n->state = ODP_NEIGH_STALE;
		odp_neigh_mark(ul, n);
		n->refs++;
		odp_neigh_put(ul, (uint16_t)(i + 1));
		return 0;
	}
	return -ENOENT;
}

void odp_ul_neigh_foreach(const struct odp_ul *ul,
	void (*fn)(const struct odp_ul_neigh_info *n, void *arg), void *arg)
{
	for (unsigned i = 0; i < ul->conf.neighs_max; i++) {
		const struct odp_neigh *n = &ul->neighs[i];
		struct odp_ul_neigh_info info = { .ip = n->ip,
			.port = ul->ifs[n->iface].port,
			.vlan = ul->ifs[n->iface].vlan,
			.state = odp_neigh_state_name(n->state),
			.is_static = n->is_static };

		if (n->state == ODP_NEIGH_NONE)
			continue;
		memcpy(info.mac, n->mac, 6);
		fn(&info, arg);
	}
}
