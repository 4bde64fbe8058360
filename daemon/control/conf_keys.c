/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rows of control/conf_keys.h laid down as constant arrays, with the words of every enum.
 */
#include "control/conf_keys.h"

#include <assert.h>
#include <stddef.h>

#include "util/macros.h"

const struct conf_section_type conf_section_types[] = {
	[CONF_SECTION_DAEMON] = {.kind = "daemon", .max = 1},
	[CONF_SECTION_PORT] = {.kind = "port", .has_name = true, .max = CONF_MAX_PORTS},
	[CONF_SECTION_ROUTE] = {.kind = "route", .max = 1},
	[CONF_SECTION_BRIDGE] = {.kind = "bridge", .has_name = true, .max = CONF_MAX_BRIDGES},
	[CONF_SECTION_LISTENER] = {.kind = "listener", .has_name = true, .max = CONF_MAX_LISTENERS},
	[CONF_SECTION_BACKEND] = {.kind = "backend", .has_name = true, .max = CONF_MAX_BACKENDS},
};
static_assert(ARRAY_SIZE(conf_section_types) == CONF_SECTION_N, "a section has no row");

const char *const conf_reload_names[] = {
	[CONF_RELOAD_LIVE] = "live",
	[CONF_RELOAD_PORT] = "port",
	[CONF_RELOAD_RESTART] = "restart",
};
static_assert(ARRAY_SIZE(conf_reload_names) == CONF_RELOAD_N, "a reload class has no name");

const struct conf_choice conf_choices_huge_pages[] = {
	[CONF_HUGE_AUTO] = {.text = "auto"},
	[CONF_HUGE_ON] = {.text = "on"},
	[CONF_HUGE_OFF] = {.text = "off"},
};
static_assert(ARRAY_SIZE(conf_choices_huge_pages) == CONF_HUGE_N, "a word is missing");

const struct conf_choice conf_choices_mode[] = {
	[CONF_MODE_AUTO] = {.text = "auto"},
	[CONF_MODE_ZEROCOPY] = {.text = "zerocopy"},
	[CONF_MODE_COPY] = {.text = "copy"},
	[CONF_MODE_GENERIC] = {.text = "generic"},
};
static_assert(ARRAY_SIZE(conf_choices_mode) == CONF_MODE_N, "a word is missing");

const struct conf_choice conf_choices_forward[] = {
	[CONF_FORWARD_PASS] = {.text = "pass"},
	[CONF_FORWARD_XCONNECT] = {.text = "xconnect", .needs_name = true},
	[CONF_FORWARD_ROUTE] = {.text = "route"},
	[CONF_FORWARD_BRIDGE] = {.text = "bridge", .needs_name = true},
};
static_assert(ARRAY_SIZE(conf_choices_forward) == CONF_FORWARD_N, "a word is missing");

/* One word, hence no enum and no field yet. */
const struct conf_choice conf_choices_attach[] = {
	{.text = "link"},
	{.text = "dispatcher", .later = true},
};

const struct conf_choice conf_choices_on_failure[] = {
	[CONF_FAIL_PASS] = {.text = "pass"},
	[CONF_FAIL_DROP] = {.text = "drop"},
};
static_assert(ARRAY_SIZE(conf_choices_on_failure) == CONF_FAIL_N, "a word is missing");

const struct conf_choice conf_choices_offloads[] = {
	[CONF_OFFLOADS_FIX] = {.text = "fix"},
	[CONF_OFFLOADS_CHECK] = {.text = "check"},
};
static_assert(ARRAY_SIZE(conf_choices_offloads) == CONF_OFFLOADS_N, "a word is missing");

const struct conf_choice conf_choices_sniff[] = {
	[SPLICE_SNIFF_NONE] = {.text = "none"},
	[SPLICE_SNIFF_TLS] = {.text = "tls"},
	[SPLICE_SNIFF_HTTP] = {.text = "http"},
	[SPLICE_SNIFF_AUTO] = {.text = "auto"},
};

const struct conf_choice conf_choices_engine[] = {
	[SPLICE_AUTO] = {.text = "auto"},
	[SPLICE_SOCKMAP] = {.text = "sockmap"},
	[SPLICE_SPLICE] = {.text = "splice"},
	[SPLICE_COPY] = {.text = "copy"},
};
static_assert(ARRAY_SIZE(conf_choices_engine) == SPLICE_ENGINE_N, "a word is missing");

const struct conf_choice conf_choices_proxy_in[] = {
	[PROXY_NONE] = {.text = "off"},
	[PROXY_V1] = {.text = "v1"},
	[PROXY_V2] = {.text = "v2"},
	[PROXY_ANY] = {.text = "any"},
};

const struct conf_choice conf_choices_proxy_out[] = {
	[PROXY_NONE] = {.text = "off"},
	[PROXY_V1] = {.text = "v1"},
	[PROXY_V2] = {.text = "v2"},
};

const struct conf_choice conf_choices_balance[] = {
	[SPLICE_ROUND_ROBIN] = {.text = "round_robin"},
	[SPLICE_LEAST_CONNECTIONS] = {.text = "least_connections"},
	[SPLICE_MAGLEV] = {.text = "maglev"},
};

const struct conf_choice conf_choices_health[] = {
	[CONF_HEALTH_OFF] = {.text = "off"},
	[CONF_HEALTH_TCP] = {.text = "tcp"},
};
static_assert(ARRAY_SIZE(conf_choices_health) == CONF_HEALTH_N, "a word is missing");

#define CONF_IN_DAEMON(field_)   .in_conf = true, .offset = offsetof(struct conf_daemon, field_)
#define CONF_IN_PORT(field_)     .in_conf = true, .offset = offsetof(struct conf_port, field_)
#define CONF_IN_ROUTE(field_)    .in_conf = true, .offset = offsetof(struct conf_route, field_)
#define CONF_IN_BRIDGE(field_)   .in_conf = true, .offset = offsetof(struct conf_bridge, field_)
#define CONF_IN_LISTENER(field_) .in_conf = true, .offset = offsetof(struct conf_listener, field_)
#define CONF_IN_BACKEND(field_)  .in_conf = true, .offset = offsetof(struct conf_backend, field_)
#define CONF_CHOICES(name_) \
	.choices = conf_choices_##name_, .n_choices = ARRAY_SIZE(conf_choices_##name_)
#define CONF_KEY_ROW(section_, key_, type_, reload_, default_, help_, ...)    \
	[CONF_KEY_##section_##_##key_] = {.section = CONF_SECTION_##section_, \
					  .name = #key_,                      \
					  .type = CONF_TYPE_##type_,          \
					  .reload = CONF_RELOAD_##reload_,    \
					  .default_text = default_,           \
					  .help = help_,                      \
					  __VA_ARGS__},

const struct conf_key conf_keys[CONF_KEYS_N] = {CONF_KEYS(CONF_KEY_ROW)};

#undef CONF_KEY_ROW
#undef CONF_CHOICES
#undef CONF_IN_BACKEND
#undef CONF_IN_LISTENER
#undef CONF_IN_BRIDGE
#undef CONF_IN_ROUTE
#undef CONF_IN_PORT
#undef CONF_IN_DAEMON
