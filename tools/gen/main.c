/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sluice-gen: the order of life of its three commands. Main opens everything, then one thread per
 * direction sends and one receives; a signal asks both to end, and what they have is reported.
 */
#include <err.h>
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>

#include "tools/gen/endpoint.h"
#include "tools/gen/options.h"
#include "tools/gen/report.h"
#include "tools/gen/send.h"
#include "tools/gen/sink.h"
#include "util/macros.h"

enum exit_code { EXIT_INTACT, EXIT_DAMAGE, EXIT_WRONG_USE, EXIT_REFUSED };

/* The one thing a signal handler may touch. */
static atomic_bool stop_requested;

static void on_signal(int signum)
{
	(void)signum;
	atomic_store(&stop_requested, true);
}

static void catch_signals(void)
{
	const int signals[] = {SIGINT, SIGTERM, SIGALRM};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &action, NULL);
}

static int pin_to(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (cpu >= CPU_SETSIZE || sched_setaffinity(0, sizeof(set), &set) < 0) {
		warn("CPU %d", cpu);
		return -EINVAL;
	}
	return 0;
}

static uint32_t frame_size_for(const struct gen_options *o)
{
	return o->sizes.high > 2048 ? 4096 : 2048;
}

/* --- send ------------------------------------------------------------------------------------ */

static bool all_sent(const struct send_result *r, const struct gen_options *o)
{
	return o->flood || (r->completed == r->offered && r->dropped == 0);
}

static int command_send(struct gen_options *o)
{
	struct endpoint_spec spec = {.ifname = o->ifname[0],
				     .queues = &o->queues,
				     .sends = true,
				     .frame_size_bytes = frame_size_for(o)};
	struct send_result result;
	struct endpoint ep;
	int r;

	if (pin_to(o->cpu) < 0)
		return EXIT_REFUSED;
	if (o->flood) {
		r = send_flood(o, &stop_requested, &result);
	} else {
		r = endpoint_open(&ep, &spec);
		if (r < 0)
			return EXIT_REFUSED;
		r = send_paced(&ep, o, &stop_requested, &result);
		endpoint_close(&ep);
	}
	report_print(report_send(&result, o), o->json);
	return r < 0 ? EXIT_REFUSED : all_sent(&result, o) ? EXIT_INTACT : EXIT_DAMAGE;
}

/* --- sink ------------------------------------------------------------------------------------ */

static void say_ready(int fd)
{
	if (dprintf(fd, "ready\n") < 0)
		warn("writing `ready`");
}

static void complain(int r, const char *ifname)
{
	if (r < 0) {
		errno = -r;
		warn("%s: receiving", ifname);
	}
}

static int command_sink(struct gen_options *o)
{
	struct endpoint_spec spec = {.ifname = o->ifname[0],
				     .queues = &o->queues,
				     .rx_frames = o->ring,
				     .generic = o->generic,
				     .ethertype = o->frame.ethertype,
				     .frame_size_bytes = 2048};
	struct sink_totals totals;
	struct endpoint ep;
	struct sink sink;
	int r;

	if (pin_to(o->cpu) < 0 || endpoint_open(&ep, &spec) < 0)
		return EXIT_REFUSED;
	sink_init(&sink, &ep, o, &stop_requested);
	say_ready(o->ready_fd);
	r = sink_run(&sink);
	complain(r, ep.ifname);
	sink_sum_up(&sink, &totals);
	report_print(report_sink(&sink), o->json);
	sink_fini(&sink);
	endpoint_close(&ep);
	return r < 0 ? EXIT_REFUSED : totals.is_intact ? EXIT_INTACT : EXIT_DAMAGE;
}

/* --- run ------------------------------------------------------------------------------------- */

/* One direction: a sender on one endpoint, a sink on the other, a thread each. */
struct direction {
	struct endpoint *from, *to;
	struct gen_options *o;
	int tx_cpu, rx_cpu;
	struct sink sink;
	struct send_result sent;
	int send_status, sink_status;
	pthread_t sender, receiver;
};

static void *sender_main(void *arg)
{
	struct direction *d = arg;

	/* A sleep of 100 us must not become one of 150. */
	(void)prctl(PR_SET_TIMERSLACK, 1);
	d->send_status = pin_to(d->tx_cpu);
	if (d->send_status == 0)
		d->send_status = send_paced(d->from, d->o, &stop_requested, &d->sent);
	sink_expect(&d->sink, d->sent.offered);
	return NULL;
}

static void *receiver_main(void *arg)
{
	struct direction *d = arg;

	d->sink_status = pin_to(d->rx_cpu);
	if (d->sink_status == 0)
		d->sink_status = sink_run(&d->sink);
	complain(d->sink_status, d->to->ifname);
	return NULL;
}

static int start_direction(struct direction *d)
{
	int r;

	sink_init(&d->sink, d->to, d->o, &stop_requested);
	r = pthread_create(&d->receiver, NULL, receiver_main, d);
	if (r == 0)
		r = pthread_create(&d->sender, NULL, sender_main, d);
	if (r != 0) {
		errno = r;
		err(EXIT_REFUSED, "starting a thread");
	}
	return 0;
}

/* The report of one direction; *code is raised to what it came to. */
static struct json_object *finish_direction(struct direction *d, int *code)
{
	struct json_object *report = json_object_new_object();
	struct sink_totals totals;

	(void)pthread_join(d->sender, NULL);
	(void)pthread_join(d->receiver, NULL);
	sink_sum_up(&d->sink, &totals);
	json_object_object_add(report, "from", json_object_new_string(d->from->ifname));
	json_object_object_add(report, "to", json_object_new_string(d->to->ifname));
	json_object_object_add(report, "send", report_send(&d->sent, d->o));
	json_object_object_add(report, "sink", report_sink(&d->sink));
	if (d->send_status < 0 || d->sink_status < 0)
		*code = EXIT_REFUSED;
	else if (!totals.is_intact || !all_sent(&d->sent, d->o))
		*code = MAX(*code, EXIT_DAMAGE);
	sink_fini(&d->sink);
	return report;
}

static int command_run(struct gen_options *o)
{
	struct endpoint_spec specs[2];
	struct endpoint ep[2];
	struct direction *d = calloc(2, sizeof(*d));
	struct json_object *report, *list;
	int n = o->bidirectional ? 2 : 1;
	int code = EXIT_INTACT;

	if (!d)
		return EXIT_REFUSED;
	for (int i = 0; i < 2; i++)
		specs[i] = (struct endpoint_spec){
			.ifname = o->ifname[i],
			.netns = i == 0 ? o->tx_netns : o->rx_netns,
			.queues = &o->queues,
			.rx_frames = i == 1 || o->bidirectional ? o->ring : 0,
			.sends = i == 0 || o->bidirectional,
			.generic = o->generic,
			.ethertype = o->frame.ethertype,
			.frame_size_bytes = frame_size_for(o),
		};
	if (endpoint_open(&ep[0], &specs[0]) < 0)
		goto no_first;
	if (endpoint_open(&ep[1], &specs[1]) < 0)
		goto no_second;
	d[0] = (struct direction){
		.from = &ep[0], .to = &ep[1], .o = o, .tx_cpu = o->cpu, .rx_cpu = o->rx_cpu};
	d[1] = (struct direction){
		.from = &ep[1], .to = &ep[0], .o = o, .tx_cpu = o->rx_cpu, .rx_cpu = o->cpu};
	for (int i = 0; i < n; i++)
		(void)start_direction(&d[i]);
	report = json_object_new_object();
	list = json_object_new_array();
	for (int i = 0; i < n; i++)
		json_object_array_add(list, finish_direction(&d[i], &code));
	json_object_object_add(report, "intact", json_object_new_boolean(code == EXIT_INTACT));
	json_object_object_add(report, "directions", list);
	report_print(report, o->json);
	endpoint_close(&ep[1]);
	endpoint_close(&ep[0]);
	free(d);
	return code;

no_second:
	endpoint_close(&ep[0]);
no_first:
	free(d);
	return EXIT_REFUSED;
}

int main(int argc, char *argv[])
{
	static int (*const commands[GEN_COMMAND_N])(struct gen_options * o) = {
		[GEN_SEND] = command_send,
		[GEN_SINK] = command_sink,
		[GEN_RUN] = command_run,
	};
	struct gen_options options;

	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_HELP:
		return EXIT_INTACT;
	case OPTIONS_WRONG:
		return EXIT_WRONG_USE;
	case OPTIONS_OK:
		break;
	}
	while (options.frame.run == 0) {
		if (getrandom(&options.frame.run, sizeof(options.frame.run), 0) < 0)
			err(EXIT_REFUSED, "getrandom");
	}
	catch_signals();
	(void)prctl(PR_SET_TIMERSLACK, 1);
	return commands[options.command](&options);
}
