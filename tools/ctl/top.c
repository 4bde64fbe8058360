/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates of every queue and worker, from the differences of answers a second apart. */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/table.h"
#include "util/clock.h"
#include "util/macros.h"

/* Two answers, taken together. */
struct sample {
	uint64_t at_ns;
	struct json_object *queues;
	struct json_object *workers;
};

static void sample_fini(struct sample *sample)
{
	json_object_put(sample->queues);
	json_object_put(sample->workers);
	*sample = (struct sample){0};
}

static enum ctl_exit sample_take(const struct ctl *ctl, struct sample *ret_sample)
{
	struct sample sample = {0};
	enum ctl_exit status;

	status = ctl_request(ctl, "show queues", &sample.queues);
	if (status == CTL_OK)
		status = ctl_request(ctl, "show workers", &sample.workers);
	sample.at_ns = clock_now_ns();
	if (status != CTL_OK) {
		sample_fini(&sample);
		return status;
	}
	*ret_sample = sample;
	return CTL_OK;
}

/* The object of `array` that agrees with `like` in two keys; NULL if it is new. */
static struct json_object *find_same(struct json_object *array, struct json_object *like,
				     const char *key1, const char *key2)
{
	for (size_t i = 0; i < json_length(array); i++) {
		struct json_object *other = json_object_array_get_idx(array, i);

		if (strcmp(json_text(other, key1), json_text(like, key1)) == 0 &&
		    strcmp(json_text(other, key2), json_text(like, key2)) == 0)
			return other;
	}
	return NULL;
}

/* A daemon that was restarted counts from 0 again. */
static double rate(uint64_t now, uint64_t before, double seconds)
{
	return now >= before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static double rate_of(struct json_object *now, struct json_object *before, const char *key,
		      double seconds)
{
	return before ? rate(json_count(now, key), json_count(before, key), seconds) : 0;
}

static double drop_rate(struct json_object *now, struct json_object *before, double seconds)
{
	struct json_object *drops = json_at(now, "drops");
	double sum = 0;

	if (!json_has_members(drops))
		return 0;
	json_object_object_foreach (drops, reason, value) {
		(void)value;
		sum += rate_of(drops, json_at(before, "drops"), reason, seconds);
	}
	sum += rate_of(json_at(now, "xsk"), json_at(before, "xsk"), "rx_ring_full", seconds);
	return sum + rate_of(json_at(now, "xsk"), json_at(before, "xsk"), "rx_dropped", seconds);
}

static void put_queue(struct table *table, struct json_object *now, struct json_object *before,
		      double seconds)
{
	double drops = drop_rate(now, before, seconds);
	char buf[32];

	table_text(table, json_text(now, "port"));
	table_cell(table, TABLE_PLAIN, "%" PRIu64, json_count(now, "queue"));
	table_text(table, json_text(now, "worker"));
	table_cell(table, TABLE_PLAIN, "%s",
		   unit_rate(buf, rate_of(now, before, "rx_packets", seconds), "pps"));
	table_cell(table, TABLE_PLAIN, "%s",
		   unit_rate(buf, 8 * rate_of(now, before, "rx_bytes", seconds), "bit/s"));
	table_cell(table, TABLE_PLAIN, "%s",
		   unit_rate(buf, rate_of(now, before, "tx_packets", seconds), "pps"));
	table_cell(table, TABLE_PLAIN, "%s",
		   unit_rate(buf, 8 * rate_of(now, before, "tx_bytes", seconds), "bit/s"));
	table_cell(table, drops > 0 ? TABLE_BAD : TABLE_PLAIN, "%s", unit_rate(buf, drops, "pps"));
}

static void print_queues(const struct ctl *ctl, const struct sample *now,
			 const struct sample *before, double seconds)
{
	static const struct table_column columns[] = {
		{"PORT", false}, {"QUEUE", true}, {"WORKER", false}, {"RX", true},
		{"", true},      {"TX", true},    {"", true},        {"DROPS", true},
	};
	struct json_object *queues = json_at(now->queues, "queues");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(queues); i++) {
		struct json_object *queue = json_object_array_get_idx(queues, i);

		put_queue(&table, queue,
			  find_same(json_at(before->queues, "queues"), queue, "port", "queue"),
			  seconds);
	}
	table_end(&table, stdout, ctl->has_color);
}

static void print_workers(const struct ctl *ctl, const struct sample *now,
			  const struct sample *before, double seconds)
{
	static const struct table_column columns[] = {
		{"WORKER", false},
		{"CPU", true},
		{"BUSY", true},
		{"FREE FRAMES", true},
	};
	struct json_object *workers = json_at(now->workers, "workers");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(workers); i++) {
		struct json_object *worker = json_object_array_get_idx(workers, i);
		struct json_object *old =
			find_same(json_at(before->workers, "workers"), worker, "worker", "cpu");
		double busy = rate_of(worker, old, "busy_ns", seconds) / (double)NSEC_PER_SEC;

		table_text(&table, json_text(worker, "worker"));
		table_cell(&table, TABLE_PLAIN, "%" PRIu64, json_count(worker, "cpu"));
		table_cell(&table, busy > 0.9 ? TABLE_WARN : TABLE_PLAIN, "%.1f %%", 100 * busy);
		table_number(&table, json_count(json_at(worker, "frames"), "free"));
	}
	table_end(&table, stdout, ctl->has_color);
}

static void print_round(const struct ctl *ctl, const struct sample *now,
			const struct sample *before)
{
	double seconds = (double)(now->at_ns - before->at_ns) / (double)NSEC_PER_SEC;

	if (ctl->is_terminal)
		(void)fputs("\033[H\033[J", stdout);
	print_queues(ctl, now, before, seconds);
	(void)fputc('\n', stdout);
	print_workers(ctl, now, before, seconds);
	if (!ctl->is_terminal)
		(void)fputc('\n', stdout);
	(void)fflush(stdout);
}

enum ctl_exit top_run(const struct ctl *ctl)
{
	_cleanup_(sample_fini) struct sample before = {0};
	enum ctl_exit status;

	status = sample_take(ctl, &before);
	for (uint32_t i = 0; status == CTL_OK && (ctl->n_rounds == 0 || i < ctl->n_rounds); i++) {
		struct sample now;

		ctl_wait_second();
		status = sample_take(ctl, &now);
		if (status != CTL_OK)
			break;
		print_round(ctl, &now, &before);
		sample_fini(&before);
		before = now;
	}
	return status;
}
