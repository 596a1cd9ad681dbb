// SPDX-License-Identifier: Apache-2.0
/* What each metric counts, for people. */
#include "metrics_text.h"

#include <stdbool.h>
#include <string.h>

#include "odp_ct.h"
#include "odp_port.h"
#include "odp_underlay.h"

/* One row for every class that has the member. */
static const struct help {
	const char *classes; // "disk net"
	const char *member; // as in the JSON of stats_get
	const char *text;
	const char *reasons; // group of the texts of its reasons; NULL: it has none
} rows[] = {
	{ "volume disk_queue", "reads", "Read requests answered", NULL },
	{ "volume disk_queue", "read_bytes", "Bytes read", NULL },
	{ "volume disk_queue", "writes", "Write requests answered", NULL },
	{ "volume disk_queue", "write_bytes", "Bytes written", NULL },
	{ "volume disk_queue", "flushes", "Flush requests answered", NULL },
	{ "volume disk_queue", "discards", "Discard requests answered", NULL },
	{ "volume disk_queue", "zeroes", "Write-zeroes requests answered", NULL },
	{ "volume", "compares", "Compare-and-writes that wrote", NULL },
	{ "volume", "miscompares", "Compare-and-writes that found something else", NULL },
	{ "volume", "compares_lost", "Compare-and-writes of which nobody knows", NULL },
	{ "volume", "errors", "Requests answered with an error", NULL },
	{ "volume", "checksum_errors", "Blocks below that were not what had been written", NULL },
	{ "volume", "size_bytes", "Size of the volume", NULL },
	{ "volume", "users", "Disks that show the volume", NULL },
	{ "volume", "failed", "1: a flush failed, and no later one can be trusted", NULL },
	{ "volume_latency", "seconds", "How long requests took, of those that are timed", NULL },
	{ "controller", "commands", "Commands sent to the path's controller", NULL },
	{ "controller", "stale_answers", "Answers that nobody waited for", NULL },
	{ "controller", "timeouts", "Commands and connections that came to nothing in time", NULL },
	{ "controller", "digest_errors", "Data with a wrong digest", NULL },
	{ "controller", "short_data", "Successes without all of their data", NULL },
	{ "controller", "connects", "Connections made", NULL },
	{ "controller", "failures", "Connections lost, or not made", NULL },
	{ "controller", "volumes_added", "Volumes made of namespaces", NULL },
	{ "controller", "volumes_removed", "Volumes dropped, as their namespaces went", NULL },
	{ "controller", "volumes_refused", "Times that a namespace could have no volume", NULL },
	{ "controller", "live", "1: connected", NULL },
	{ "controller", "queues", "I/O queues", NULL },
	{ "controller", "namespaces", "Namespaces that it shows", NULL },
	{ "controller_latency", "seconds", "How long commands took, of those that are timed",
		NULL },

	{ "subsystem", "connects", "Controllers that hosts made", NULL },
	{ "subsystem", "refused", "Connects of hosts that were refused", NULL },
	{ "subsystem subsystem_host", "commands", "I/O commands answered", NULL },
	{ "subsystem subsystem_host", "command_errors", "I/O commands answered with an error",
		NULL },
	{ "subsystem_host", "queues", "I/O queues of the host's controller", NULL },
	{ "subsystem_listener", "accepted", "Connections accepted at the address", NULL },
	{ "target", "connections", "Connections accepted", NULL },
	{ "target", "reads", "Read commands", NULL },
	{ "target", "read_bytes", "Bytes of them", NULL },
	{ "target", "writes", "Write commands", NULL },
	{ "target", "write_bytes", "Bytes of them", NULL },
	{ "target", "others", "Other I/O commands", NULL },
	{ "target", "waits", "Commands that had to wait for a buffer", NULL },
	{ "target", "refused", "Connections ended and commands refused, by reason", "target" },
	{ "target", "open", "Connections open", NULL },
	{ "target", "controllers", "Controllers of hosts", NULL },

	{ "disk_queue", "erases", "Secure-erase requests answered", NULL },
	{ "disk_queue", "get_ids", "Requests for the serial number answered", NULL },
	{ "disk_queue", "get_lifetimes", "Requests for the wear of the media answered", NULL },
	{ "disk_queue", "request_errors", "Requests answered with an error, by reason", "disk" },

	{ "disk net", "sessions", "Front-ends that connected", NULL },
	{ "disk net", "messages", "vhost-user messages received", NULL },
	{ "disk net", "rejected_messages", "vhost-user messages refused, by reason", "message" },
	{ "disk net", "dropped_sessions", "Sessions closed for what the front-end sent", NULL },
	{ "disk net", "connected", "1: a front-end is connected", NULL },
	{ "disk net", "driver_ok", "1: the guest's driver uses the function", NULL },
	{ "disk net", "needs_reset", "1: a queue broke the rules and was stopped", NULL },
	{ "net", "ctrl_commands", "Control commands carried out", NULL },
	{ "net", "ctrl_refused", "Control commands refused", NULL },
	{ "disk net", "iotlb_updates", "Addresses that the front-end told", NULL },
	{ "disk net", "iotlb_invalidates", "Ranges of addresses that it took back", NULL },
	{ "disk net", "iotlb_refused", "IOTLB messages that made no sense", NULL },
	{ "disk net", "iotlb_evicted", "Addresses forgotten to make room for others", NULL },
	{ "disk net", "iotlb_asked", "Addresses that the front-end was asked for", NULL },
	{ "disk net", "iotlb_unanswered", "Seconds in which a queue waited in vain for one", NULL },
	{ "disk net", "iotlb_late", "Ranges taken back under requests that did not end", NULL },
	{ "disk_queue net_queue", "requests", "Descriptor chains taken from the ring", NULL },
	{ "disk_queue net_queue", "bytes", "Payload bytes moved either way", NULL },
	{ "disk_queue net_queue", "calls", "Notifications sent to the driver", NULL },
	{ "disk_queue net_queue", "calls_suppressed", "Notifications the driver did not want",
		NULL },
	{ "disk_queue net_queue", "resubmitted", "Requests found in flight after a restart", NULL },
	{ "disk_queue net_queue", "iommu_waits", "Times that a request waited for an address",
		NULL },
	{ "disk_queue net_queue", "errors", "Stops of the ring, by reason", "queue" },
	{ "disk_queue net_queue", "running", "1: the ring is being served", NULL },
	{ "disk_queue net_queue", "broken", "1: the ring broke the rules", NULL },
	{ "disk_queue net_queue", "packed", "1: a packed ring, 0: a split one", NULL },
	{ "disk_queue net_queue", "size", "Descriptors of the ring", NULL },

	{ "net_pair", "rx_packets", "Packets from the guest", NULL },
	{ "net_pair", "rx_bytes", "Bytes from the guest", NULL },
	{ "net_pair", "tx_packets", "Packets to the guest", NULL },
	{ "net_pair", "tx_bytes", "Bytes to the guest", NULL },
	{ "net_pair", "drops", "Packets dropped at the guest, by reason", "net" },
	{ "uplink tunnel port", "rx_packets", "Packets that came in by the port", NULL },
	{ "uplink tunnel port", "rx_bytes", "Bytes that came in by the port", NULL },
	{ "uplink tunnel port", "tx_packets", "Packets that went out by the port", NULL },
	{ "uplink tunnel port", "tx_bytes", "Bytes that went out by the port", NULL },
	{ "uplink tunnel port", "gro_frames", "Frames that segments were merged into", NULL },
	{ "uplink tunnel port", "gro_segments", "Segments that were merged into those", NULL },
	{ "uplink tunnel port", "number", "Number of the port in flows", NULL },
	{ "uplink tunnel port datapath", "drops", "Packets dropped by the switch, by reason",
		"port" },
	{ "uplink", "up", "1: the link is up", NULL },
	{ "uplink", "mtu", "Largest layer-3 packet in bytes", NULL },
	{ "mac", "learned", "Addresses learned on the port", NULL },
	{ "mac", "static", "Addresses that an operator pinned to the port", NULL },

/* clang-format off */
#define X(name, text) { "underlay", #name, text, NULL },
	ODP_UL_COUNTERS(X)
	ODP_UL_GAUGES(X)
#undef X
	/* clang-format on */

	{ "datapath worker", "fused_hits", "Packets that took the path of established connections",
		NULL },
	{ "datapath worker", "emc_hits", "Packets whose flow was in the exact-match cache", NULL },
	{ "datapath worker", "mega_hits", "Packets whose flow was found in the flow table", NULL },
	{ "datapath worker", "misses", "Packets without a flow", NULL },
	{ "datapath", "upcalls", "Packets handed to the control thread", NULL },
	{ "datapath", "upcalls_dropped", "Packets that the control thread had no room for", NULL },
	{ "datapath", "flows", "Flows installed", NULL },
	{ "datapath", "subtables", "Different masks of flows", NULL },
	{ "datapath", "macs", "Addresses known", NULL },

#define X(name, text) { "conntrack", #name, "Connection tracking: " text, NULL },
	ODP_CT_COUNTERS(X)
#undef X
#define X(name, text) \
	{ "conntrack", "fragments_" #name, "In front of connection tracking: " text, NULL },
		ODP_FRAG_COUNTERS(X)
#undef X
			{ "conntrack", "fragments_waiting", "Datagrams that are not whole yet",
				NULL },
	{ "conntrack", "fragments_bytes", "Memory that they hold", NULL },
	{ "conntrack", "connections", "Connections tracked", NULL },
	{ "conntrack", "capacity", "Connections that the table has room for", NULL },
	{ "conntrack", "memory_bytes", "Memory of the connection table", NULL },
	{ "conntrack", "saves", "Files of connections written for the next start", NULL },
	{ "conntrack", "saves_skipped", "Files not written: no connections, as in the last", NULL },
	{ "conntrack", "save_failures", "Files of connections that could not be written", NULL },
	{ "conntrack", "load_refused", "Files of connections refused at the start", NULL },
	{ "conntrack", "saved_connections", "Connections in the last file", NULL },
	{ "conntrack", "saved_bytes", "Bytes of the last file of connections", NULL },
	{ "conntrack", "save_step_max_us", "Longest step of writing connections", NULL },
	{ "conntrack_state", "connections", "Connections in the state", NULL },

	{ "vm", "starts", "Starts that an operator asked for", NULL },
	{ "vm", "reboots", "Resets that the guest asked for", NULL },
	{ "vm", "crashes", "Ends of the guest's process that were a crash", NULL },
	{ "vm", "reconnects", "Connections to functions that the guest was given anew", NULL },
	{ "vm", "wants_held", "Connections to functions that were asked for too soon", NULL },
	{ "vm", "refused", "Commands that the guest's process refused", NULL },
	{ "vm", "console_bytes", "Bytes of console output", NULL },
	{ "vm", "console_lost_bytes", "Bytes of console output that its process had no room for",
		NULL },
	{ "vm", "log_lines", "Lines that the guest's process logged", NULL },
	{ "vm", "log_lost", "Lines that it could not send", NULL },
	{ "vm", "exits", "Exits of the guest's CPUs to its process", NULL },
	{ "vm", "missed", "Accesses of the guest that no device answered", NULL },
	{ "vm_state", "active", "1: the VM is in the state", NULL },
	{ "vm_agent", "accepted", "Agents that connected", NULL },
	{ "vm_agent", "sent_away", "Agents that came while another one answered", NULL },
	{ "vm_agent", "displaced", "Agents that did not answer, and made room for another", NULL },
	{ "vm_agent", "strangers", "Guests that an agent had and no VM is known of", NULL },
	{ "vm_agent", "closed", "Connections to an agent that ended, by reason", "vm_agent" },
	{ "vm_agent", "guests_closed", "Connections to guests' processes that ended, by reason",
		"vm_agent" },
	{ "vm_agent", "connected", "1: an agent is connected", NULL },

	{ "worker", "turns", "Rounds over all queues", NULL },
	{ "worker", "busy_turns", "Rounds that found work", NULL },
	{ "worker", "busy_tsc", "Cycles in rounds that found work", NULL },
	{ "worker", "idle_tsc", "Cycles in rounds that found none, and asleep", NULL },
	{ "worker", "sleeps", "Times that the worker went to sleep", NULL },
	{ "worker", "wakes", "Times that it was woken", NULL },
	{ "worker", "looks", "Times that it looked, while busy, whether a parked queue has work",
		NULL },
	{ "worker", "messages", "Messages from the control thread", NULL },
	{ "worker", "sampled_packets", "Packets received in the rounds whose stages are timed",
		NULL },
#define X(name, counter, text) { "worker", counter, text, NULL },
	ODP_STAGES(X)
#undef X
		{ "rpc metrics", "accepted", "Clients accepted", NULL },
	{ "rpc", "accept_failed", "Clients that could not be taken for want of resources", NULL },
	{ "rpc", "refused_uid", "Clients of another user, refused", NULL },
	{ "rpc", "refused_full", "Clients refused while all places were in use", NULL },
	{ "rpc", "evicted", "Silent clients that made room for another", NULL },
	{ "rpc", "timeouts", "Clients closed for not completing or not reading in time", NULL },
	{ "rpc", "oversize", "Messages longer than allowed", NULL },
	{ "rpc", "requests", "Requests", NULL },
	{ "rpc", "errors", "Requests answered with an error", NULL },
	{ "rpc", "parse_errors", "Messages that were not JSON", NULL },
	{ "rpc", "cancelled", "Calls in steps whose client left before their end", NULL },
	{ "metrics", "cut_full", "Connections cut to make room for another", NULL },
	{ "metrics", "cut_late", "Connections cut for taking too long", NULL },
	{ "metrics", "requests", "Pages of metrics served", NULL },
	{ "metrics", "open", "Connections open", NULL },
};

/* True when `class` is a word of `classes` and the family is of that class and member. */
static bool is_of(const struct help *h, const char *family)
{
	for (const char *word = h->classes; *word; word += *word == ' ') {
		size_t n = strcspn(word, " ");

		if (!strncmp(family, word, n) && family[n] == '_' &&
			!strcmp(family + n + 1, h->member))
			return true;
		word += n;
	}
	return false;
}

const char *card_metrics_help(const char *family, const char **reasons)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!is_of(&rows[i], family))
			continue;
		*reasons = rows[i].reasons;
		return rows[i].text;
	}
	*reasons = NULL;
	return NULL;
}
