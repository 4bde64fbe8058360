// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A connection's sockets enter and leave the maps, and what their TCP has taken: see splice_maps.h.
 * Thread: the acceptor that owns the connection.
 *
 *          flow_of       splice_out        splice_in
 *   enter  1 both   ──►  2 both       ──►  3 client, server    ──►  wish = KERNEL, kick
 *   leave  4 both   ◄──  3 both       ◄──  1 both  ◄── 2 lock
 *
 * Up to step 2 everything can be taken back: no program has seen a byte. From the first splice_in
 * on it cannot: deleting the entry of a socket that receives loses what arrives meanwhile, and what
 * was passed and not read (splice.md T8, T9).
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "kern/splice_maps_internal.h"
#include "util/macros.h"

/* Each is lost to an acknowledgement of the moment; the window allows only so many. */
#define BASE_TRIES 64

static int read_option(int fd, int level, int option, void *ret_value, socklen_t size)
{
	socklen_t got = size;

	if (getsockopt(fd, level, option, ret_value, &got) < 0)
		return -errno;
	return got == size ? 0 : -EPROTO;
}

/* An MPTCP socket of any kind, or AF_UNIX, is not for these maps: some kernels crash on them. (One
 * that is not established is refused by the first map that it is to enter, while all can be taken
 * back.) */
static int check_socket(int fd)
{
	int protocol = 0;
	int r = read_option(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, sizeof(protocol));

	if (r < 0)
		return r;
	return protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
}

/* --- Words -------------------------------------------------------------------------------------
 */

/* Nothing in the kernel refers to the number: no entry in flow_of has its generation. */
static void reset_words(struct splice_maps *maps, uint32_t side)
{
	struct splice_flow *flow = &maps->flows[side];

	*flow = (struct splice_flow){
		.wish = SPLICE_RELAY,
		.generation = flow->generation + 1,
		.acceptor = side / 2 / maps->n_conns_each,
	};
}

/* --- The steps ---------------------------------------------------------------------------------
 */

static int enter_flow_of(struct splice_maps *maps, uint32_t side)
{
	struct splice_socket *socket = &maps->sockets[side];
	const struct splice_flow_ref ref = {.side = side,
					    .generation = maps->flows[side].generation};
	int r = bpf_map_update_elem(maps->flow_of_fd, &socket->cookie, &ref, BPF_NOEXIST);

	if (r == 0)
		socket->stage = STAGE_FLOW_OF;
	return r;
}

static int enter_out(struct splice_maps *maps, uint32_t side)
{
	struct splice_socket *socket = &maps->sockets[side];
	const uint64_t fd = (uint64_t)socket->fd;
	int r = bpf_map_update_elem(maps->out_fd, &side, &fd, BPF_NOEXIST);

	if (r == 0)
		socket->stage = STAGE_SINK;
	return r;
}

static int enter_in(struct splice_maps *maps, uint32_t side)
{
	struct splice_socket *socket = &maps->sockets[side];
	const uint64_t fd = (uint64_t)socket->fd;
	int r = bpf_map_update_elem(maps->in_fd, &socket->cookie, &fd, BPF_NOEXIST);

	if (r == 0)
		socket->stage = STAGE_SPLICED;
	return r;
}

static int both(struct splice_maps *maps, uint32_t client_side,
		int (*step)(struct splice_maps *maps, uint32_t side))
{
	int r = step(maps, client_side);

	return r < 0 ? r : step(maps, SPLICE_PEER(client_side));
}

/*
 * The credit rule knows the send buffer; net.ipv4.tcp_notsent_lowat, which some hosts set to 16 KiB
 * or 128, would block the kernel's worker long before that is full.
 */
static int bound_nothing_unsent(int fd)
{
	const int none = -1;

	return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &none, sizeof(none)) < 0 ? -errno : 0;
}

static int prepare(struct splice_maps *maps, uint32_t side, int fd)
{
	struct splice_socket *socket = &maps->sockets[side];
	uint64_t cookie;
	int r;

	if (socket->stage != STAGE_OUT)
		return -EEXIST;
	r = read_option(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof(cookie));
	if (r < 0)
		return r;
	socket->fd = fd;
	socket->cookie = cookie;
	reset_words(maps, side);
	return bound_nothing_unsent(fd);
}

int splice_enter(struct splice_maps *maps, uint32_t client_side, const int fds[2])
{
	const uint32_t server_side = SPLICE_PEER(client_side);
	int r;

	if (client_side % 2 != 0 || client_side >= maps->n_sides)
		return -EINVAL;
	r = check_socket(fds[0]);
	if (r == 0)
		r = check_socket(fds[1]);
	if (r == 0)
		r = prepare(maps, client_side, fds[0]);
	if (r == 0)
		r = prepare(maps, server_side, fds[1]);
	if (r < 0)
		return r;

	r = both(maps, client_side, enter_flow_of);
	if (r == 0)
		r = both(maps, client_side, enter_out);
	/* The client first: it is the one that may have ended already, and then nothing has
	 * happened. */
	if (r == 0)
		r = enter_in(maps, client_side);
	if (r < 0) {
		splice_leave(maps, client_side);
		return r;
	}
	return enter_in(maps, server_side) < 0 ? 1 : 0;
}

/* --- Leaving -----------------------------------------------------------------------------------
 */

/* Waits until no verdict runs for the socket: it does under the socket's lock, which this takes. */
static void lock_once(int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
}

static void leave_in(struct splice_maps *maps, uint32_t side)
{
	struct splice_socket *socket = &maps->sockets[side];

	if (socket->stage < STAGE_SPLICED)
		return;
	(void)bpf_map_delete_elem(maps->in_fd, &socket->cookie);
	lock_once(socket->fd);
}

static void leave_out(struct splice_maps *maps, uint32_t side)
{
	if (maps->sockets[side].stage >= STAGE_SINK)
		(void)bpf_map_delete_elem(maps->out_fd, &side);
}

static void leave_flow_of(struct splice_maps *maps, uint32_t side)
{
	struct splice_socket *socket = &maps->sockets[side];

	if (socket->stage >= STAGE_FLOW_OF)
		(void)bpf_map_delete_elem(maps->flow_of_fd, &socket->cookie);
	socket->stage = STAGE_OUT;
}

void splice_leave(struct splice_maps *maps, uint32_t client_side)
{
	static void (*const steps[])(struct splice_maps *, uint32_t) = {leave_in, leave_out,
									leave_flow_of};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		steps[i](maps, client_side);
		steps[i](maps, SPLICE_PEER(client_side));
	}
}

/* --- Kick, taken -------------------------------------------------------------------------------
 */

int splice_kick(int fd)
{
	const int one = 1;
	char byte;
	ssize_t n;

	/* Either makes the kernel call the verdict for what is queued; this one also heals a
	 * low-water mark that was left over, the peek also tells what is there. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one)) < 0)
		return -errno;
	n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n < 0 ? -errno : (int)n;
}

/* What is acknowledged; and whether that is all that was ever written. The kernel looks at both
 * under the socket's lock. */
static int read_acked(int fd, uint64_t *ret_acked, bool *ret_is_all)
{
	struct tcp_info info = {};
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return -errno;
	if (size < offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof(info.tcpi_notsent_bytes))
		return -EOPNOTSUPP;
	*ret_acked = info.tcpi_bytes_acked;
	*ret_is_all = info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0;
	return 0;
}

static int read_queued(int fd, uint64_t *ret_queued)
{
	int queued = 0;

	if (ioctl(fd, SIOCOUTQ, &queued) < 0)
		return -errno;
	*ret_queued = (uint64_t)queued;
	return 0;
}

/*
 * Exact, and not only never too much: a base that is too low makes every later sum too high, and
 * the FIN overtakes what waits. It is, by what was acknowledged between the two looks; so a third
 * one has to say that nothing was. (Under load that was one connection in 3,000.)
 */
int splice_base(int fd, uint64_t *ret_base)
{
	uint64_t before = 0, queued = 0, after = 0;
	bool is_all;
	int r = read_acked(fd, &after, &is_all);

	for (unsigned n = 0; r == 0 && n < BASE_TRIES; n++) {
		if (is_all) {
			*ret_base = after;
			return 0;
		}
		before = after;
		r = read_queued(fd, &queued);
		if (r == 0)
			r = read_acked(fd, &after, &is_all);
		if (r == 0 && before == after) {
			*ret_base = before + queued;
			return 0;
		}
	}
	return r < 0 ? r : -EAGAIN;
}

int splice_taken(int fd, uint64_t base, uint64_t *ret_taken)
{
	uint64_t acked, queued = 0;
	bool is_all;
	int r = read_acked(fd, &acked, &is_all);

	if (r == 0 && !is_all)
		r = read_queued(fd, &queued);
	if (r < 0)
		return r;
	*ret_taken = acked + queued - base;
	return 0;
}
