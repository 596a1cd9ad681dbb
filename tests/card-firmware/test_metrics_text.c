// SPDX-License-Identifier: Apache-2.0
/* Counters as OpenMetrics text. */
#include "metrics_text.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

static const struct text_case {
	const char *name, *card, *stats, *text;
} cases[] = {
	{ "nothing", "c", "{}", "# EOF\n" },
	{ "counters and gauges of one object", "c",
		"{\"volume\":[{\"name\":\"v\",\"reads\":7,\"now\":{\"users\":1}}]}",
		"# TYPE outboard_volume_reads counter\n"
		"# HELP outboard_volume_reads Read requests answered.\n"
		"outboard_volume_reads_total{card=\"c\",volume=\"v\"} 7\n"
		"# TYPE outboard_volume_users gauge\n"
		"# HELP outboard_volume_users Disks that show the volume.\n"
		"outboard_volume_users{card=\"c\",volume=\"v\"} 1\n"
		"# EOF\n" },
	{ "samples of one metric stand together", "c",
		"{\"port\":[{\"name\":\"a\",\"x\":1,\"y\":2},{\"name\":\"b\",\"x\":3,\"y\":4}]}",
		"# TYPE outboard_port_x counter\n"
		"outboard_port_x_total{card=\"c\",port=\"a\"} 1\n"
		"outboard_port_x_total{card=\"c\",port=\"b\"} 3\n"
		"# TYPE outboard_port_y counter\n"
		"outboard_port_y_total{card=\"c\",port=\"a\"} 2\n"
		"outboard_port_y_total{card=\"c\",port=\"b\"} 4\n"
		"# EOF\n" },
	{ "reasons and parts", "c",
		"{\"disk\":[{\"name\":\"d\",\"queues\":[{\"queue\":0,\"errors\":{\"bad_index\":5}}]"
		"}],"
		"\"reasons\":{\"queue\":{\"bad_index\":\"a\\\"b\",\"mem\":\"c\\nd\"}}}",
		"# TYPE outboard_disk_queue_errors counter\n"
		"# HELP outboard_disk_queue_errors Stops of the ring, by reason: "
		"bad_index (a\\\"b), mem (c\\nd).\n"
		"outboard_disk_queue_errors_total{card=\"c\",disk=\"d\",queue=\"0\",reason=\"bad_"
		"index\"} 5\n"
		"# EOF\n" },
	{ "histograms", "c",
		"{\"volume\":[{\"name\":\"v\",\"latency\":[{\"op\":\"read\",\"seconds\":"
		"{\"below_ns\":{\"4096\":3,\"16384\":5},\"count\":6,\"sum_ns\":1500}}]}]}",
		"# TYPE outboard_volume_latency_seconds histogram\n"
		"# HELP outboard_volume_latency_seconds How long requests took, of those that are "
		"timed.\n"
		"outboard_volume_latency_seconds_bucket{card=\"c\",volume=\"v\",op=\"read\","
		"le=\"4.096e-06\"} 3\n"
		"outboard_volume_latency_seconds_bucket{card=\"c\",volume=\"v\",op=\"read\","
		"le=\"1.6384e-05\"} 5\n"
		"outboard_volume_latency_seconds_bucket{card=\"c\",volume=\"v\",op=\"read\","
		"le=\"+Inf\"} 6\n"
		"outboard_volume_latency_seconds_count{card=\"c\",volume=\"v\",op=\"read\"} 6\n"
		"outboard_volume_latency_seconds_sum{card=\"c\",volume=\"v\",op=\"read\"} "
		"0.000001500\n"
		"# EOF\n" },
	{ "a name that is no UTF-8", "a\xff\xc3.\xc3\xa4\xe2\x82", "{\"rpc\":[{\"n\":1}]}",
		"# TYPE outboard_rpc_n counter\n"
		"outboard_rpc_n_total{card=\"a??.\xc3\xa4??\"} 1\n"
		"# EOF\n" },
	{ "labels are escaped", "a\"b\\c\nd", "{\"rpc\":[{\"n\":1}]}",
		"# TYPE outboard_rpc_n counter\n"
		"outboard_rpc_n_total{card=\"a\\\"b\\\\c\\nd\"} 1\n"
		"# EOF\n" },
};

static void format(void **state)
{
	const struct text_case *t = *state;
	json_t *stats = json_loads(t->stats, 0, NULL);
	char *text;

	assert_non_null(stats);
	text = card_metrics_text(t->card, stats);
	assert_string_equal(text, t->text);
	free(text);
	json_decref(stats);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(cases, format, failed);
	return failed;
}
