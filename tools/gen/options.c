/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of options and what reads their values; checks that concern several at once. */
#include "tools/gen/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tools/gen/sequence.h"
#include "util/macros.h"

/* The shortest frame on a wire, without the checksum. */
#define DEFAULT_BYTES 60

#define SEND (1u << GEN_SEND)
#define SINK (1u << GEN_SINK)
#define RUN  (1u << GEN_RUN)
#define TX   (SEND | RUN)
#define RX   (SINK | RUN)
#define ALL  (SEND | SINK | RUN)

static const char *const command_names[GEN_COMMAND_N] = {
	[GEN_SEND] = "send",
	[GEN_SINK] = "sink",
	[GEN_RUN] = "run",
};

/* --- values ---------------------------------------------------------------------------------- */

/* A number with an optional fraction and a unit out of a table; the fraction needs a unit. */
struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_scaled(const char *text, const struct unit *units, uint64_t *ret_value)
{
	char *end;
	double number;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtod(text, &end);
	if (errno)
		return -errno;
	for (; units->name; units++) {
		if (strcmp(end, units->name) == 0) {
			number *= (double)units->factor;
			if (number >= 0x1p63)
				return -ERANGE;
			*ret_value = (uint64_t)(number + 0.5);
			return 0;
		}
	}
	return -EINVAL;
}

int options_parse_count(const char *text, uint64_t *ret_count)
{
	static const struct unit units[] = {
		{"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0}};

	return parse_scaled(text, units, ret_count);
}

int options_parse_duration(const char *text, uint64_t *ret_duration_ns)
{
	static const struct unit units[] = {{"s", NSEC_PER_SEC},
					    {"ms", NSEC_PER_MSEC},
					    {"us", NSEC_PER_USEC},
					    {"ns", 1},
					    {NULL, 0}};

	return parse_scaled(text, units, ret_duration_ns);
}

/* A plain decimal number up to `end_char`s; *text is moved behind it. */
static int scan_u32(const char **text, uint32_t max, uint32_t *ret_value)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	errno = 0;
	value = strtoul(*text, &end, 0);
	if (errno || value > max)
		return -ERANGE;
	*text = end;
	*ret_value = (uint32_t)value;
	return 0;
}

int options_parse_sizes(const char *text, struct gen_sizes *ret_sizes)
{
	struct gen_sizes sizes = {0};
	int r;

	if (strcmp(text, "imix") == 0) {
		*ret_sizes = (struct gen_sizes){.low = 60, .high = 1514, .imix = true};
		return 0;
	}
	r = scan_u32(&text, FRAME_MAX_BYTES, &sizes.low);
	if (r < 0)
		return r;
	sizes.high = sizes.low;
	if (*text == '-') {
		text++;
		r = scan_u32(&text, FRAME_MAX_BYTES, &sizes.high);
		if (r < 0)
			return r;
	}
	if (*text)
		return -EINVAL;
	if (sizes.low < FRAME_MIN_BYTES || sizes.high < sizes.low)
		return -ERANGE;
	*ret_sizes = sizes;
	return 0;
}

int options_parse_queues(const char *text, struct gen_queues *ret_queues)
{
	struct gen_queues queues = {0};

	if (strcmp(text, "all") == 0) {
		*ret_queues = queues;
		return 0;
	}
	for (;;) {
		uint32_t first, last;
		int r = scan_u32(&text, UINT16_MAX, &first);

		last = first;
		if (r == 0 && *text == '-') {
			text++;
			r = scan_u32(&text, UINT16_MAX, &last);
		}
		if (r < 0)
			return r;
		for (; first <= last; first++) {
			if (queues.n == GEN_MAX_QUEUES)
				return -ERANGE;
			queues.list[queues.n++] = first;
		}
		if (*text == '\0')
			break;
		if (*text++ != ',')
			return -EINVAL;
	}
	if (queues.n == 0)
		return -ERANGE;
	*ret_queues = queues;
	return 0;
}

static int parse_count(const char *text, void *dst)
{
	return options_parse_count(text, dst);
}

static int parse_duration(const char *text, void *dst)
{
	return options_parse_duration(text, dst);
}

static int parse_sizes(const char *text, void *dst)
{
	return options_parse_sizes(text, dst);
}

static int parse_queues(const char *text, void *dst)
{
	return options_parse_queues(text, dst);
}

static int parse_u32(const char *text, void *dst)
{
	uint32_t value;
	int r = scan_u32(&text, UINT32_MAX, &value);

	if (r < 0 || *text)
		return r < 0 ? r : -EINVAL;
	*(uint32_t *)dst = value;
	return 0;
}

static int parse_int(const char *text, void *dst)
{
	uint32_t value;
	int r = scan_u32(&text, INT_MAX, &value);

	if (r < 0 || *text)
		return r < 0 ? r : -EINVAL;
	*(int *)dst = (int)value;
	return 0;
}

static int parse_u16(const char *text, void *dst)
{
	uint32_t value;
	int r = scan_u32(&text, UINT16_MAX, &value);

	if (r < 0 || *text)
		return r < 0 ? r : -EINVAL;
	*(uint16_t *)dst = (uint16_t)value;
	return 0;
}

static int parse_vlan(const char *text, void *dst)
{
	int vlan = 0;
	int r = parse_int(text, &vlan);

	if (r < 0)
		return r;
	if (vlan > 4094)
		return -ERANGE;
	*(int *)dst = vlan;
	return 0;
}

static int parse_mac(const char *text, void *dst)
{
	uint8_t mac[6];
	char rest;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &rest) != 6)
		return -EINVAL;
	memcpy(dst, mac, sizeof(mac));
	return 0;
}

static int parse_string(const char *text, void *dst)
{
	*(const char **)dst = text;
	return 0;
}

static int parse_flag(const char *text, void *dst)
{
	(void)text;
	*(bool *)dst = true;
	return 0;
}

/* --- the table ------------------------------------------------------------------------------- */

struct option_row {
	const char *name;
	unsigned commands;
	const char *value; /* NULL: a flag */
	int (*parse)(const char *text, void *dst);
	size_t offset;
	const char *help;
};

#define TO(field) offsetof(struct gen_options, field)

static const struct option_row rows[] = {
	{"count", TX, "N", parse_count, TO(count), "frames to send; k, M, G are thousands"},
	{"duration", ALL, "TIME", parse_duration, TO(duration_ns), "end after 5s, 500ms, …"},
	{"rate", TX, "FPS", parse_count, TO(rate_fps), "frames per second; default: no limit"},
	{"burst", TX, "N", parse_u32, TO(burst), "frames per system call; default: 100 us' worth"},
	{"size", TX, "SIZES", parse_sizes, TO(sizes),
	 "60-1514 in turn, or imix; default: 60, or the least that --ip or --ip6 needs"},
	{"length", TX, "N", parse_sizes, TO(sizes),
	 "the same, said of odd lengths: runts from 14, oversize to 4096"},
	{"flows", TX, "N", parse_u32, TO(flows), "flows in turn; default: one per queue"},
	{"flow-base", TX, "N", parse_u32, TO(flow_base), "number of the first flow"},
	{"queue", SEND | SINK, "Q", parse_queues, TO(queues), "the same as --queues"},
	{"queues", ALL, "LIST", parse_queues, TO(queues),
	 "0-3 or 0,2 or all; send: default 0, flow f on queue f mod n; sink: default all"},
	{"dst-mac", TX, "MAC", parse_mac, TO(frame.dst_mac), "default 02:00:00:00:00:0b"},
	{"src-mac", TX, "MAC", parse_mac, TO(frame.src_mac), "default 02:00:00:00:00:0a"},
	{"vlan", TX, "VID", parse_vlan, TO(frame.vlan), "send tagged"},
	{"ethertype", ALL, "N", parse_u16, TO(frame.ethertype), "default 0x88b5"},
	{"ip", TX, NULL, parse_flag, TO(ip4), "in UDP over IPv4; at least 82 bytes"},
	{"ip6", TX, NULL, parse_flag, TO(ip6), "in UDP over IPv6; at least 102 bytes"},
	{"src-ip", TX, "ADDR", parse_string, TO(src_ip), "default 198.18.0.1 or 2001:2::1"},
	{"dst-ip", TX, "ADDR", parse_string, TO(dst_ip), "default 198.19.0.1 or 2001:2::2"},
	{"run", TX, "ID", parse_u32, TO(frame.run), "run id in the frames; default: random"},
	{"flood", SEND, NULL, parse_flag, TO(flood),
	 "XDP live frames from --cpu in one call: arrives on queue CPU mod n"},
	{"dst-random", SEND, "BITS", parse_u32, TO(dst_random_bits),
	 "--flood --ip: draw that many low bits of the destination for each frame"},
	{"expect", SINK, "N", parse_count, TO(expect),
	 "end after N distinct frames; fewer are lost"},
	{"idle-timeout", RX, "TIME", parse_duration, TO(idle_timeout_ns),
	 "end when nothing came for so long after the first frame; default 500ms"},
	{"linger", RX, "TIME", parse_duration, TO(linger_ns),
	 "quiet time after the last expected frame, to see duplicates; default 20ms"},
	{"window", RX, "N", parse_count, TO(window),
	 "numbers per flow within which duplicates are known; default 65536"},
	{"only-run", SINK, "ID", parse_u32, TO(only_run), "count other runs' frames as foreign"},
	{"ring", RX, "N", parse_u32, TO(ring), "frames per receive queue; default 4096"},
	{"generic", RX, NULL, parse_flag, TO(generic), "attach in generic mode"},
	{"ready-fd", SINK, "FD", parse_int, TO(ready_fd),
	 "write the line `ready` here instead of stdout"},
	{"cpu", ALL, "N", parse_int, TO(cpu), "run on this CPU; run: the sender"},
	{"rx-cpu", RUN, "N", parse_int, TO(rx_cpu), "the sink's CPU"},
	{"tx-netns", RUN, "NAME", parse_string, TO(tx_netns), "namespace of the first interface"},
	{"rx-netns", RUN, "NAME", parse_string, TO(rx_netns), "namespace of the second"},
	{"bidirectional", RUN, NULL, parse_flag, TO(bidirectional), "both ways at once"},
	{"per-flow", RX, NULL, parse_flag, TO(per_flow), "report every flow (default: up to 64)"},
	{"json", ALL, NULL, parse_flag, TO(json), "report as one line of JSON"},
};

static const char intro[] =
	"sluice-gen: frames that know who they are, and a sink that finds out what became of them.\n"
	"\n"
	"  sluice-gen send IF [OPTION…]         send by AF_XDP on exactly the queues named\n"
	"  sluice-gen sink IF [OPTION…]         receive by AF_XDP and judge every frame\n"
	"  sluice-gen run IF-A IF-B [OPTION…]   both in one process: A sends, B is the sink\n"
	"\n"
	"A frame carries run, flow, sequence number, time and a crc over everything. The sink tells\n"
	"lost, duplicated, reordered, corrupted frames and wrong lengths apart, and measures latency.\n"
	"sent = completed by the kernel and not dropped by the device; received = arrived intact,\n"
	"duplicates included.\n"
	"\n"
	"Exit status: 0 everything as it should be; 1 something lost, duplicated, reordered,\n"
	"corrupted, or not sent; 2 usage; 3 the kernel refused something.\n";

static void print_help(void)
{
	fputs(intro, stdout);
	for (enum gen_command c = 0; c < GEN_COMMAND_N; c++) {
		printf("\nOptions of %s:\n", command_names[c]);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			if (rows[i].commands & 1u << c)
				printf("  --%-13s %-6s %s\n", rows[i].name,
				       rows[i].value ? rows[i].value : "", rows[i].help);
		}
	}
}

/* --- the whole line -------------------------------------------------------------------------- */

static const struct gen_options defaults = {
	.count = UINT64_MAX,
	.frame =
		{
			.dst_mac = {0x02, 0, 0, 0, 0, 0x0b},
			.src_mac = {0x02, 0, 0, 0, 0, 0x0a},
			.vlan = FRAME_NO_VLAN,
			.ethertype = GEN_ETHERTYPE,
		},
	.idle_timeout_ns = 500 * NSEC_PER_MSEC,
	.linger_ns = 20 * NSEC_PER_MSEC,
	.window = 65536,
	.ring = 4096,
	.ready_fd = STDOUT_FILENO,
	.cpu = -1,
	.rx_cpu = -1,
};

static int resolve_addresses(struct gen_options *o)
{
	const char *src = o->src_ip ? o->src_ip : o->ip6 ? "2001:2::1" : "198.18.0.1";
	const char *dst = o->dst_ip ? o->dst_ip : o->ip6 ? "2001:2::2" : "198.19.0.1";
	void *to_src = o->ip6 ? (void *)&o->frame.src6 : (void *)&o->frame.src4;
	void *to_dst = o->ip6 ? (void *)&o->frame.dst6 : (void *)&o->frame.dst4;

	if (!o->ip4 && !o->ip6)
		return o->src_ip || o->dst_ip ? -EINVAL : 0;
	o->frame.family = o->ip6 ? AF_INET6 : AF_INET;
	if (inet_pton(o->frame.family, src, to_src) != 1 ||
	    inet_pton(o->frame.family, dst, to_dst) != 1)
		return -EINVAL;
	return 0;
}

/*
 * A frame without IP may be cut as short as a runt, which its sink takes for what it is. A packet
 * that does not hold what its headers say is damage: the sink would blame the path for it.
 */
static enum options_result resolve_sizes(struct gen_options *o)
{
	bool is_ip = o->ip4 || o->ip6;
	uint32_t least_bytes = DEFAULT_BYTES;
	struct frame_builder builder;

	if (is_ip) {
		frame_builder_init(&builder, &o->frame);
		least_bytes = (uint32_t)frame_min_size(&builder);
	}
	if (o->sizes.high == 0)
		o->sizes = (struct gen_sizes){.low = least_bytes, .high = least_bytes};
	if (!is_ip || o->sizes.low >= least_bytes)
		return OPTIONS_OK;
	warnx("--size: %s%s%s needs at least %u bytes", o->ip4 ? "--ip" : "--ip6",
	      o->frame.vlan == FRAME_NO_VLAN ? "" : " with --vlan",
	      o->sizes.imix ? ", of which imix has frames of 60," : "", least_bytes);
	return OPTIONS_WRONG;
}

/* What is wrong with the options together; NULL if nothing is. */
static const char *find_fault(const struct gen_options *o)
{
	uint64_t ring = o->ring;

	if (o->command != GEN_SINK && o->count == UINT64_MAX && o->duration_ns == 0)
		return "--count or --duration is needed";
	if (o->command != GEN_SINK && o->count == 0)
		return "--count 0 sends nothing";
	if (o->window < SEQUENCE_MIN_WINDOW || (o->window & (o->window - 1)) != 0)
		return "--window must be a power of two of at least 64";
	if (ring < 64 || ring > 65536 || (ring & (ring - 1)) != 0)
		return "--ring must be a power of two, 64 to 65536";
	if (o->burst > 1024)
		return "--burst must not exceed 1024";
	if (o->dst_random_bits > 32 ||
	    (o->dst_random_bits && (!o->flood || !o->ip4 || o->frame.vlan != FRAME_NO_VLAN)))
		return "--dst-random is 1 to 32, with --flood and --ip, untagged";
	if (o->dst_random_bits && be32toh(o->frame.dst4.s_addr) << (32 - o->dst_random_bits))
		return "--dst-random draws bits that are 0 in --dst-ip";
	if (!o->flood)
		return NULL;
	if (o->sizes.imix || o->sizes.low != o->sizes.high || o->sizes.low > 3000)
		return "--flood sends one size, at most 3000";
	if (o->ip6)
		return "--flood cannot keep the UDP checksum of IPv6 right";
	if (o->rate_fps || o->queues_given)
		return "--flood has no --rate and its queue is the CPU's";
	return NULL;
}

static enum options_result complete(struct gen_options *o)
{
	const char *fault;

	if (resolve_addresses(o) < 0) {
		warnx("--src-ip and --dst-ip must be addresses of the family of --ip or --ip6");
		return OPTIONS_WRONG;
	}
	if (o->ip4 && o->ip6) {
		warnx("--ip and --ip6 exclude each other");
		return OPTIONS_WRONG;
	}
	if (resolve_sizes(o) != OPTIONS_OK)
		return OPTIONS_WRONG;
	fault = find_fault(o);
	if (fault) {
		warnx("%s", fault);
		return OPTIONS_WRONG;
	}
	o->frame.no_udp_sum = o->flood;
	if (o->command == GEN_SEND && !o->queues_given)
		o->queues.n = 1;
	return OPTIONS_OK;
}

static int find_command(const char *name, enum gen_command *ret_command)
{
	for (enum gen_command c = 0; c < GEN_COMMAND_N; c++) {
		if (strcmp(name, command_names[c]) == 0) {
			*ret_command = c;
			return 0;
		}
	}
	return -ENOENT;
}

static enum options_result apply(struct gen_options *o, const struct option_row *row,
				 const char *text)
{
	int r;

	if (!(row->commands & 1u << o->command)) {
		warnx("--%s is no option of %s", row->name, command_names[o->command]);
		return OPTIONS_WRONG;
	}
	r = row->parse(text, (char *)o + row->offset);
	if (r < 0) {
		warnx("--%s: '%s' is %s", row->name, text,
		      r == -ERANGE ? "out of range" : "not understood");
		return OPTIONS_WRONG;
	}
	o->queues_given |= row->parse == parse_queues;
	return OPTIONS_OK;
}

enum options_result options_parse(int argc, char *argv[], struct gen_options *ret_options)
{
	struct option longs[ARRAY_SIZE(rows) + 2] = {0};
	struct gen_options o = defaults;
	int n_names, index, c;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		longs[i] = (struct option){
			rows[i].name, rows[i].value ? required_argument : no_argument, NULL, 'x'};
	longs[ARRAY_SIZE(rows)] = (struct option){"help", no_argument, NULL, 'h'};
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		return OPTIONS_HELP;
	}
	if (argc < 2 || find_command(argv[1], &o.command) < 0) {
		warnx("the first word must be send, sink or run; see --help");
		return OPTIONS_WRONG;
	}
	argc--;
	argv++;
	while ((c = getopt_long(argc, argv, "h", longs, &index)) != -1) {
		if (c == 'h') {
			print_help();
			return OPTIONS_HELP;
		}
		if (c != 'x' || apply(&o, &rows[index], optarg) != OPTIONS_OK)
			return OPTIONS_WRONG;
	}
	n_names = o.command == GEN_RUN ? 2 : 1;
	if (argc - optind != n_names) {
		warnx("%s needs %d interface name%s", command_names[o.command], n_names,
		      n_names > 1 ? "s" : "");
		return OPTIONS_WRONG;
	}
	for (int i = 0; i < n_names; i++)
		o.ifname[i] = argv[optind + i];
	if (complete(&o) != OPTIONS_OK)
		return OPTIONS_WRONG;
	*ret_options = o;
	return OPTIONS_OK;
}
