/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of cardd's JSON-RPC socket, as data: names, parameters, help and what the durable
 * store does with a success. cardd validates requests against these tables; cardctl builds its
 * help, completion and manual page from them without a daemon.
 *
 * Methods that SPDK has too carry SPDK's name and parameters, so that its tools work.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every method. A name without a handler does not link, one without a table row fails its test. */
#define CARD_METHODS(X)                          \
	X(bdev_null_create)                      \
	X(bdev_null_delete)                      \
	X(bdev_null_resize)                      \
	X(bdev_malloc_create)                    \
	X(bdev_malloc_delete)                    \
	X(bdev_uring_create)                     \
	X(bdev_uring_delete)                     \
	X(bdev_aio_create)                       \
	X(bdev_aio_delete)                       \
	X(bdev_crypto_create)                    \
	X(bdev_crypto_delete)                    \
	X(bdev_lvol_create_lvstore)              \
	X(bdev_lvol_delete_lvstore)              \
	X(bdev_lvol_get_lvstores)                \
	X(bdev_lvol_create)                      \
	X(bdev_lvol_delete)                      \
	X(bdev_lvol_resize)                      \
	X(volume_integrity_create)               \
	X(volume_crypto_set)                     \
	X(volume_rekey)                          \
	X(bdev_raid_create)                      \
	X(bdev_raid_delete)                      \
	X(bdev_set_qos_limit)                    \
	X(bdev_enable_histogram)                 \
	X(bdev_get_histogram)                    \
	X(volume_latency)                        \
	X(controller_latency)                    \
	X(bdev_nvme_set_options)                 \
	X(bdev_nvme_attach_controller)           \
	X(bdev_nvme_detach_controller)           \
	X(bdev_nvme_reset_controller)            \
	X(bdev_nvme_get_controllers)             \
	X(bdev_nvme_set_multipath_policy)        \
	X(bdev_nvme_set_preferred_path)          \
	X(bdev_nvme_get_io_paths)                \
	X(bdev_nvme_start_discovery)             \
	X(bdev_nvme_stop_discovery)              \
	X(bdev_nvme_get_discovery_info)          \
	X(accel_crypto_key_create)               \
	X(accel_crypto_key_destroy)              \
	X(accel_crypto_keys_get)                 \
	X(volume_create_instance)                \
	X(volume_end_instance)                   \
	X(volume_delete)                         \
	X(volume_resize)                         \
	X(volume_set_wear)                       \
	X(volume_unshare)                        \
	X(bdev_get_bdevs)                        \
	X(bdev_get_iostat)                       \
	X(vhost_create_blk_controller)           \
	X(vhost_delete_controller)               \
	X(vhost_get_controllers)                 \
	X(nvmf_create_transport)                 \
	X(nvmf_create_subsystem)                 \
	X(nvmf_delete_subsystem)                 \
	X(nvmf_subsystem_add_ns)                 \
	X(nvmf_subsystem_remove_ns)              \
	X(nvmf_subsystem_add_listener)           \
	X(nvmf_subsystem_remove_listener)        \
	X(nvmf_subsystem_listener_set_ana_state) \
	X(nvmf_subsystem_add_host)               \
	X(nvmf_subsystem_remove_host)            \
	X(nvmf_subsystem_allow_any_host)         \
	X(nvmf_discovery_add_referral)           \
	X(nvmf_discovery_remove_referral)        \
	X(nvmf_get_subsystems)                   \
	X(nvmf_get_stats)                        \
	X(net_create)                            \
	X(net_delete)                            \
	X(net_set)                               \
	X(net_list)                              \
	X(uplink_create)                         \
	X(uplink_delete)                         \
	X(uplink_set)                            \
	X(uplink_list)                           \
	X(tunnel_create)                         \
	X(tunnel_delete)                         \
	X(tunnel_list)                           \
	X(underlay_address_add)                  \
	X(underlay_address_delete)               \
	X(underlay_route_add)                    \
	X(underlay_route_delete)                 \
	X(underlay_neighbour_set)                \
	X(underlay_neighbour_delete)             \
	X(underlay_show)                         \
	X(port_list)                             \
	X(port_set)                              \
	X(flow_add)                              \
	X(flow_del)                              \
	X(flow_list)                             \
	X(flow_flush)                            \
	X(flow_trace)                            \
	X(flow_top)                              \
	X(mac_list)                              \
	X(mac_set)                               \
	X(mac_del)                               \
	X(mac_flush)                             \
	X(ct_list)                               \
	X(ct_flush)                              \
	X(ct_zone_set)                           \
	X(ct_zone_reset)                         \
	X(ct_zone_list)                          \
	X(ct_default_limit)                      \
	X(ct_timeout_set)                        \
	X(ct_timeout_reset)                      \
	X(ct_timeout_list)                       \
	X(ct_export)                             \
	X(ct_import)                             \
	X(vm_create)                             \
	X(vm_delete)                             \
	X(vm_start)                              \
	X(vm_pause)                              \
	X(vm_resume)                             \
	X(vm_stop)                               \
	X(vm_power_button)                       \
	X(vm_resize)                             \
	X(vm_add_function)                       \
	X(vm_remove_function)                    \
	X(vm_list)                               \
	X(vm_agent)                              \
	X(vm_console)                            \
	X(rpc_get_methods)                       \
	X(spdk_get_version)                      \
	X(stats_get)                             \
	X(worker_list)                           \
	X(worker_perf)                           \
	X(card_info)                             \
	X(card_ready)                            \
	X(log_level_set)                         \
	X(config_get)                            \
	X(shutdown)

enum card_method_id {
#define X(name) CARD_M_##name,
	CARD_METHODS(X)
#undef X
		CARD_METHOD_COUNT
};

/*
 * CARD_P_LIST: of strings; cardctl takes them in one word, separated by commas. CARD_P_OBJECT:
 * members that the handler judges; of SPDK's tools only.
 */
enum card_param_type { CARD_P_STRING, CARD_P_UINT, CARD_P_BOOL, CARD_P_LIST, CARD_P_OBJECT };

struct card_param {
	const char *name;
	enum card_param_type type;
	bool required;
	uint64_t min, max; // UINT: value, STRING: bytes, LIST: strings; max 0: no bound
	const char *def; // default as text for help, or NULL
	const char *help; // one phrase without a full stop
	bool compat; // taken for SPDK's tools and without effect, as help says: cardctl hides it
	bool minus; // UINT: also -1, which is UINT64_MAX
	bool once; // acts only while the object is made for the first time: not kept in the store
};

/* What the durable store does when a call succeeds. */
enum card_keep {
	CARD_KEEP_NONE, // nothing: the call reads, or changes something that is not kept
	CARD_KEEP_CREATE, // keep the call, unless one for the same object is kept already
	CARD_KEEP_SET, // keep the call, replacing an earlier one for the same object
	CARD_KEEP_UPDATE, // keep the call behind the one that made the object
	CARD_KEEP_DELETE, // forget the object, or all of its kind when the method has no key
};

struct card_method {
	const char *name; // SPDK's name where SPDK has the method
	const char *help; // one sentence without a full stop
	enum card_keep keep;
	const char *kind; // class of object in the store: "volume", "function", ...; NULL: not kept
	const char *key,
		*key2; // parameters that name the object; key is cardctl's operand; or NULL
	bool key2_opt; // DELETE: without key2 every object of the key
	bool queues; // while another call takes steps it waits for its turn
	bool canonical; // the call is made with the parameters that are kept of it
	char key_end; // the key is what stands before this character; 0: all of it
	const struct card_param *params;
	unsigned n_params;
};

/* NULL when there is none. Any thread. */
const struct card_method *card_method_find(const char *name);
const struct card_method *card_method_at(unsigned idx); // NULL past the end; idx: card_method_id
const struct card_param *card_method_param(const struct card_method *m, const char *name);
const char *card_param_type_name(enum card_param_type t);

/* One command of cardctl: OBJECT VERB [KEY [MORE ...]] [name=value ...], a call of `method`. */
struct card_verb {
	const char *object;
	const char *verb; // one word or two: "address add"; NULL: the object alone
	enum card_method_id method;
	const char *fixed_name, *fixed_value; // a parameter the command itself sets, or NULL
	const char *key; // parameter taken as operand, or NULL
	bool key_required;
	const char *more; // parameters taken as operands behind the key: "type local"; or NULL
	/*
	 * Of the table: "heading=path ...", path as "a.b". Of several, one for each list in the
	 * result: "member: heading=path ...; member: ...". NULL: name and value.
	 */
	const char *columns;
	const char *help; // NULL: the method's
};

const struct card_verb *card_verb_find(const char *object, const char *verb);
const struct card_verb *card_verb_at(unsigned idx); // NULL past the end; grouped by object
/*
 * Parameter number n that this command takes as an operand, from 0 on; NULL: no more. A command
 * without a key has none.
 */
const struct card_param *card_verb_operand(const struct card_verb *v, unsigned n);
