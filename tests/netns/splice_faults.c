/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel that does not tell a socket in a sockmap of the bytes that were there before it
 * (splice.md §1.2): for the test that the self-test sees it, and that the daemon does without
 * sockmap then. tests/netns/meson.build links it into a sluiced of its own, where this
 * splice_kick() comes before the library's. The rest of splice_enter.c is the right one. Thread:
 * control.
 */
#include "kern/splice_maps.h"

int splice_kick_right(int fd);

#define splice_kick splice_kick_right
#include "kern/splice_enter.c"
#undef splice_kick

int splice_kick(int fd)
{
	return 0;
}
