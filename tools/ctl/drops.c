/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loss balance for people: per port the way of the packets, then what was lost and what to do.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/table.h"
#include "util/macros.h"

static void print_way(struct json_object *port)
{
	static const struct {
		const char *key;
		const char *what;
	} steps[] = {
		{"seen", "seen by the program"},
		{"received", "received by workers"},
		{"forwarded", "forwarded"},
		{"handed_back", "handed to the kernel"},
		{"dropped", "dropped by workers"},
		{"transmitted", "put on tx rings"},
		{"replicated", "of these copies"},
		{"completed", "sent"},
		{"rx_waiting", "waiting in rx rings"},
		{"in_tx", "being sent"},
		{"abandoned", "given up unsent"},
		{"rx_abandoned", "given up unreceived"},
	};
	char buf[32];

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		(void)printf("  %-20s %15s\n", steps[i].what,
			     unit_count(buf, json_count(port, steps[i].key)));
}

/* On a port that forwards, what the kernel got is missing on the wire, so it is said and why. */
static void print_reasons(const char *heading, struct json_object *passed)
{
	char buf[32], what[64];

	if (!json_has_members(passed))
		return;

	json_object_object_foreach (passed, reason, value) {
		uint64_t packets = json_object_get_uint64(value);

		if (packets == 0)
			continue;
		(void)snprintf(what, sizeof(what), "%s: %s", heading, reason);
		(void)printf("  %-24s %11s\n", what, unit_count(buf, packets));
	}
}

static void print_losses(const struct ctl *ctl, struct json_object *losses)
{
	char buf[32];

	for (size_t i = 0; i < json_length(losses); i++) {
		struct json_object *loss = json_object_array_get_idx(losses, i);
		bool is_counted = json_truth(loss, "counted");

		(void)fputs("  ", stdout);
		color_print(stdout, ctl->has_color, is_counted ? TABLE_BAD : TABLE_WARN,
			    is_counted ? "lost" : "sign");
		(void)printf(" %15s  %s %s: %s\n", unit_count(buf, json_count(loss, "packets")),
			     json_text(loss, "place"), json_text(loss, "reason"),
			     json_text(loss, "meaning"));
		(void)printf("  %21s %s\n", "→", json_text(loss, "remedy"));
	}
}

/* Only what does not balance is worth a line. */
static void print_identities(const struct ctl *ctl, struct json_object *identities)
{
	for (size_t i = 0; i < json_length(identities); i++) {
		struct json_object *identity = json_object_array_get_idx(identities, i);

		if (json_truth(identity, "balanced"))
			continue;
		(void)fputs("  ", stdout);
		color_print(stdout, ctl->has_color, TABLE_WARN, json_text(identity, "name"));
		(void)printf(" is off by %" PRId64 " (exact only while no packet moves)\n",
			     json_signed(identity, "difference"));
	}
}

static void print_port(const struct ctl *ctl, struct json_object *port)
{
	char buf[32];

	(void)printf("port %s (", json_text(port, "port"));
	text_print(stdout, json_text(port, "interface"));
	(void)printf("): %s lost\n", unit_count(buf, json_count(port, "lost")));
	print_way(port);
	print_reasons("to the kernel", json_at(port, "passed"));
	print_reasons("handed back", json_at(port, "handed_back_by_reason"));
	print_losses(ctl, json_at(port, "losses"));
	print_identities(ctl, json_at(port, "identities"));
	(void)fputc('\n', stdout);
}

enum ctl_exit show_drops(const struct ctl *ctl, struct json_object *answer)
{
	struct json_object *drops = json_at(answer, "drops");
	struct json_object *ports = json_at(drops, "ports");
	char buf[32];

	for (size_t i = 0; i < json_length(ports); i++)
		print_port(ctl, json_object_array_get_idx(ports, i));
	(void)printf("lost in all: %s; the books %s\n", unit_count(buf, json_count(drops, "lost")),
		     json_truth(drops, "balanced") ? "balance" : "do not balance at this moment");
	print_identities(ctl, json_at(drops, "identities"));
	return CTL_OK;
}
