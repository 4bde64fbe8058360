/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of sluice-gen as a value. One row per option in options.c; --help prints it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/gen/frame.h"

#define GEN_MAX_QUEUES 64

enum gen_command { GEN_SEND, GEN_SINK, GEN_RUN, GEN_COMMAND_N };

/* Frame sizes are taken in turn: low … high, or the twelve of the simple Internet mix. */
struct gen_sizes {
	uint32_t low, high;
	bool imix;
};

/* Queue numbers in the order given; n = 0 means all of the interface. */
struct gen_queues {
	uint32_t n;
	uint32_t list[GEN_MAX_QUEUES];
};

struct gen_options {
	enum gen_command command;
	const char *ifname[2]; /* the second for `run`: where the sink is */

	/* sending */
	uint64_t count;       /* frames; UINT64_MAX = until the duration or a signal */
	uint64_t duration_ns; /* 0 = no limit; sink: from its start */
	uint64_t rate_fps;    /* 0 = as fast as it goes */
	uint32_t burst;       /* frames per system call; 0 = chosen from the rate */
	struct gen_sizes sizes;
	uint32_t flows; /* 0 = one per queue */
	uint32_t flow_base;
	struct gen_queues queues; /* send: default queue 0; sink: default all */
	bool queues_given;
	struct frame_spec frame;
	const char *src_ip, *dst_ip; /* resolved into frame */
	bool ip4, ip6;
	bool flood;
	uint32_t dst_random_bits; /* flood over IPv4: low bits of the destination drawn per frame */

	/* receiving */
	uint64_t expect; /* distinct frames; 0 = unknown */
	uint64_t idle_timeout_ns;
	uint64_t linger_ns;
	uint64_t window;
	uint32_t only_run; /* 0 = frames of any run */
	uint32_t ring;     /* frames per receive queue */
	bool generic;
	int ready_fd;

	/* both */
	int cpu, rx_cpu; /* -1 = wherever the scheduler likes */
	const char *tx_netns, *rx_netns;
	bool bidirectional;
	bool per_flow;
	bool json;
};

enum options_result { OPTIONS_OK, OPTIONS_HELP, OPTIONS_WRONG };

/* Complaints go to stderr, help to stdout. The strings of *ret_options point into argv. */
enum options_result options_parse(int argc, char *argv[], struct gen_options *ret_options);

/* "200k", "1.5M", "12": decimal, a factor of 1000 per letter. -EINVAL, -ERANGE. */
int options_parse_count(const char *text, uint64_t *ret_count);

/* "5s", "500ms", "100us", "10ns": the unit is not optional. -EINVAL, -ERANGE. */
int options_parse_duration(const char *text, uint64_t *ret_duration_ns);

/* "60", "60-1514", "imix". -EINVAL, -ERANGE. */
int options_parse_sizes(const char *text, struct gen_sizes *ret_sizes);

/* "all", "3", "0-3", "0,2,5-7". -EINVAL, -ERANGE. */
int options_parse_queues(const char *text, struct gen_queues *ret_queues);
