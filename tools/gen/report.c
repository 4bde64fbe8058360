/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names and units of everything that sluice-gen reports. */
#include "tools/gen/report.h"

#include <json-c/json.h>
#include <stdio.h>

#include "util/macros.h"

#define FLOWS_BY_DEFAULT 64

static char six_places[] = "%.6f"; /* json-c wants a pointer to non-const */

static void add_count(struct json_object *to, const char *name, uint64_t value)
{
	json_object_object_add(to, name, json_object_new_uint64(value));
}

static void add_number(struct json_object *to, const char *name, double value)
{
	struct json_object *number = json_object_new_double(value);

	/* Microseconds, not the seventeen digits of a double. */
	json_object_set_serializer(number, json_object_double_to_json_string, six_places, NULL);
	json_object_object_add(to, name, number);
}

static void add_pace(struct json_object *to, uint64_t frames, uint64_t start_ns, uint64_t end_ns)
{
	double seconds = (double)(end_ns - start_ns) / 1e9;

	add_count(to, "first_ns", start_ns);
	add_count(to, "last_ns", end_ns);
	add_number(to, "seconds", seconds);
	add_number(to, "frames_per_second", seconds > 0 ? (double)frames / seconds : 0);
}

struct json_object *report_send(const struct send_result *r, const struct gen_options *o)
{
#define SEND_ANSWER_NAME(name, code) #name,
	static const char *const answer_names[] = {SEND_ANSWERS(SEND_ANSWER_NAME)};
#undef SEND_ANSWER_NAME
	struct json_object *top = json_object_new_object();
	struct json_object *queues = json_object_new_array();
	struct json_object *answers = json_object_new_object();

	add_count(top, "run", o->frame.run);
	add_count(top, "offered", r->offered);
	if (o->flood) {
		json_object_put(queues);
		json_object_put(answers);
		add_count(top, "bytes", r->bytes);
		add_pace(top, r->offered, r->start_ns, r->end_ns);
		return top;
	}
	add_count(top, "completed", r->completed);
	add_count(top, "dropped", r->dropped);
	add_count(top, "sent", r->completed - r->dropped);
	add_count(top, "uncompleted", r->offered - r->completed);
	add_count(top, "bytes", r->bytes);
	add_pace(top, r->offered, r->start_ns, r->end_ns);
	add_count(top, "slipped", r->slipped);
	for (uint32_t i = 0; i < r->n_queues; i++) {
		struct json_object *queue = json_object_new_object();

		add_count(queue, "queue", r->queues[i].queue);
		add_count(queue, "offered", r->queues[i].offered);
		add_count(queue, "completed", r->queues[i].completed);
		json_object_array_add(queues, queue);
	}
	json_object_object_add(top, "queues", queues);
	for (size_t i = 0; i < SEND_ANSWER_N; i++)
		add_count(answers, answer_names[i], r->answers[i]);
	json_object_object_add(top, "sendto", answers);
	add_count(top, "device_tx_packets", r->device.tx_packets);
	add_count(top, "device_tx_dropped", r->device.tx_dropped);
	return top;
}

static struct json_object *latency_of(const struct histogram *h)
{
	static const struct {
		const char *name;
		uint32_t per_million;
	} quantiles[] = {{"p50", 500000}, {"p90", 900000}, {"p99", 990000}, {"p999", 999000}};
	struct json_object *latency = json_object_new_object();

	add_count(latency, "min", h->min);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		add_count(latency, quantiles[i].name,
			  histogram_quantile(h, quantiles[i].per_million));
	add_count(latency, "max", h->max);
	add_count(latency, "mean", h->n ? h->sum / h->n : 0);
	return latency;
}

static struct json_object *flows_of(const struct sink *s)
{
	struct json_object *flows = json_object_new_array();

	for (uint32_t i = 0; i < s->n_flows; i++) {
		const struct sequence *books = &s->flows[i];
		struct json_object *flow;

		if (!books->bits)
			continue;
		if (!s->o->per_flow && json_object_array_length(flows) == FLOWS_BY_DEFAULT)
			break;
		flow = json_object_new_object();
		add_count(flow, "flow", i);
		add_count(flow, "received", books->n_unique + books->n_duplicate + books->n_stale);
		add_count(flow, "lost", sequence_missing(books, 0));
		add_count(flow, "duplicated", books->n_duplicate);
		add_count(flow, "reordered", books->n_reordered);
		add_count(flow, "stale", books->n_stale);
		add_count(flow, "next", books->next);
		json_object_array_add(flows, flow);
	}
	return flows;
}

static struct json_object *kernel_of(const struct sink *s)
{
	struct json_object *kernel = json_object_new_object();
	struct xdp_statistics stats;

	endpoint_statistics(s->ep, &stats);
	add_count(kernel, "rx_dropped", stats.rx_dropped);
	add_count(kernel, "rx_ring_full", stats.rx_ring_full);
	add_count(kernel, "fill_ring_empty", stats.rx_fill_ring_empty_descs);
	return kernel;
}

struct json_object *report_sink(const struct sink *s)
{
	struct json_object *top = json_object_new_object();
	struct json_object *queues = json_object_new_array();
	struct sink_totals t;

	sink_sum_up(s, &t);
	json_object_object_add(top, "intact", json_object_new_boolean(t.is_intact));
	add_count(top, "expected", atomic_load(&s->expect));
	add_count(top, "received", t.received);
	add_count(top, "unique", t.unique);
	add_count(top, "lost", t.lost);
	add_count(top, "duplicated", t.duplicated);
	add_count(top, "reordered", t.reordered);
	add_count(top, "stale", t.stale);
	add_count(top, "corrupted", s->fates[FRAME_CORRUPTED]);
	add_count(top, "wrong_length", s->fates[FRAME_WRONG_LENGTH]);
	add_count(top, "altered_l2", s->fates[FRAME_ALTERED_L2]);
	add_count(top, "foreign", s->fates[FRAME_FOREIGN] + s->other_run);
	add_count(top, "bytes", s->bytes);
	add_pace(top, t.received, s->first_ns, s->last_ns);
	json_object_object_add(top, "latency_ns", latency_of(&s->latency));
	for (uint32_t i = 0; i < s->ep->n_lanes; i++) {
		struct json_object *queue = json_object_new_object();

		add_count(queue, "queue", s->ep->lanes[i].queue);
		add_count(queue, "received", s->received[i]);
		json_object_array_add(queues, queue);
	}
	json_object_object_add(top, "queues", queues);
	json_object_object_add(top, "flows", flows_of(s));
	json_object_object_add(top, "kernel", kernel_of(s));
	return top;
}

static void print_line(const char *prefix, struct json_object *value);

static void print_members(const char *prefix, struct json_object *object)
{
	json_object_object_foreach (object, key, value) {
		char path[128];

		(void)snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", key);
		print_line(path, value);
	}
}

static bool is_nested(struct json_object *object)
{
	json_object_object_foreach (object, key, value) {
		(void)key;
		if (json_object_is_type(value, json_type_object))
			return true;
	}
	return false;
}

/* Tables of small objects take one line for each row; the directions of a run are no such table. */
static void print_elements(const char *prefix, struct json_object *array)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *element = json_object_array_get_idx(array, i);
		char path[128];

		if (snprintf(path, sizeof(path), "%s[%zu]", prefix, i) >= (int)sizeof(path))
			continue; /* no report is so deep */
		if (is_nested(element))
			print_members(path, element);
		else
			printf("%s: %s\n", path, json_object_to_json_string(element));
	}
}

static void print_line(const char *prefix, struct json_object *value)
{
	if (json_object_is_type(value, json_type_object))
		print_members(prefix, value);
	else if (json_object_is_type(value, json_type_array))
		print_elements(prefix, value);
	else
		printf("%s: %s\n", prefix, json_object_to_json_string(value));
}

void report_print(struct json_object *report, bool json)
{
	if (json)
		printf("%s\n", json_object_to_json_string_ext(report, JSON_C_TO_STRING_PLAIN));
	else
		print_members("", report);
	json_object_put(report);
}
