/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet from words, for `explain packet PORT src=… dst=…`: what a neighbour would send to the
 * port. Or the octets themselves, in hexadecimal.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "util/macros.h"

/* A request is a line of 4096; two digits an octet. */
#define MAX_FRAME_BYTES 2000
#define L4_BYTES        20 /* enough for ports and a TCP header */

struct packet {
	bool is_ip6, has_dmac;
	uint8_t dmac[ETH_ALEN], smac[ETH_ALEN];
	uint8_t src[16], dst[16];
	const char *src_text, *dst_text;
	uint32_t proto, sport, dport, ttl, len;
};

static bool refuse(const char *word, const char *why)
{
	(void)fprintf(stderr, "sluicectl: '%s': %s\n", word, why);
	return false;
}

static bool take_number(const char *value, unsigned long max, uint32_t *ret_n)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)value[0]))
		return false;
	errno = 0;
	n = strtoul(value, &end, 10);
	if (errno || *end || n > max)
		return false;
	*ret_n = (uint32_t)n;
	return true;
}

static bool take_mac(const char *value, uint8_t mac[ETH_ALEN])
{
	unsigned octets[ETH_ALEN];
	int used = 0;

	if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &octets[0], &octets[1], &octets[2],
		   &octets[3], &octets[4], &octets[5], &used) != ETH_ALEN ||
	    value[used] != '\0')
		return false;
	for (unsigned i = 0; i < ETH_ALEN; i++)
		mac[i] = (uint8_t)octets[i];
	return true;
}

static bool take_proto(const char *value, uint32_t *ret_proto)
{
	static const struct {
		const char *name;
		uint32_t number;
	} names[] = {
		{"icmp", IPPROTO_ICMP},
		{"icmp6", IPPROTO_ICMPV6},
		{"tcp", IPPROTO_TCP},
		{"udp", IPPROTO_UDP},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i].name, value) == 0) {
			*ret_proto = names[i].number;
			return true;
		}
	}
	return take_number(value, 255, ret_proto);
}

static bool take_word(struct packet *packet, const char *word)
{
	const char *value = strchr(word, '=');
	size_t n = value ? (size_t)(value++ - word) : 0;
	bool is_good;

#define IS(key) (n == strlen(key) && strncmp(word, key, n) == 0)
	if (IS("src")) {
		packet->src_text = value;
		is_good = true;
	} else if (IS("dst")) {
		packet->dst_text = value;
		is_good = true;
	} else if (IS("proto")) {
		is_good = take_proto(value, &packet->proto);
	} else if (IS("sport")) {
		is_good = take_number(value, 65535, &packet->sport);
	} else if (IS("dport")) {
		is_good = take_number(value, 65535, &packet->dport);
	} else if (IS("ttl")) {
		is_good = take_number(value, 255, &packet->ttl);
	} else if (IS("len")) {
		is_good = take_number(value, MAX_FRAME_BYTES - ETH_HLEN, &packet->len);
	} else if (IS("smac")) {
		is_good = take_mac(value, packet->smac);
	} else if (IS("dmac")) {
		is_good = packet->has_dmac = take_mac(value, packet->dmac);
	} else {
		return refuse(word, "known: src= dst= proto= sport= dport= ttl= len= smac= dmac=");
	}
#undef IS
	return is_good || refuse(word, "no such value is possible here");
}

static bool take_addresses(struct packet *packet)
{
	int family;

	if (!packet->src_text || !packet->dst_text)
		return refuse("explain packet", "src= and dst= are needed, or the octets");
	packet->is_ip6 = strchr(packet->dst_text, ':');
	family = packet->is_ip6 ? AF_INET6 : AF_INET;
	if (inet_pton(family, packet->src_text, packet->src) != 1)
		return refuse(packet->src_text, "no address of the family of dst=");
	if (inet_pton(family, packet->dst_text, packet->dst) != 1)
		return refuse(packet->dst_text, "no address");
	return true;
}

static uint16_t checksum(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Returns where the transport header is. */
static uint8_t *put_ip(const struct packet *packet, uint8_t *ip)
{
	if (packet->is_ip6) {
		ip[0] = 0x60;
		put16(ip + 4, packet->len - (uint32_t)sizeof(struct ip6_hdr));
		ip[6] = (uint8_t)packet->proto;
		ip[7] = (uint8_t)packet->ttl;
		memcpy(ip + 8, packet->src, 16);
		memcpy(ip + 24, packet->dst, 16);
		return ip + sizeof(struct ip6_hdr);
	}
	ip[0] = 0x45;
	put16(ip + 2, packet->len);
	put16(ip + 6, IP_DF);
	ip[8] = (uint8_t)packet->ttl;
	ip[9] = (uint8_t)packet->proto;
	memcpy(ip + 12, packet->src, 4);
	memcpy(ip + 16, packet->dst, 4);
	put16(ip + 10, checksum(ip, sizeof(struct iphdr)));
	return ip + sizeof(struct iphdr);
}

/* Checksums behind the IP header are 0: no router looks at them. */
static void put_transport(const struct packet *packet, uint8_t *l4, uint32_t n)
{
	if (packet->proto == IPPROTO_UDP || packet->proto == IPPROTO_TCP) {
		put16(l4, packet->sport);
		put16(l4 + 2, packet->dport);
	}
	if (packet->proto == IPPROTO_UDP)
		put16(l4 + 4, n);
	else if (packet->proto == IPPROTO_TCP)
		l4[12] = 5 << 4;
	else if (packet->proto == IPPROTO_ICMP)
		l4[0] = 8; /* echo request */
	else if (packet->proto == IPPROTO_ICMPV6)
		l4[0] = 128;
}

static char *to_hex(const uint8_t *frame, uint32_t len)
{
	char *text = malloc(2 * (size_t)len + 1);

	for (uint32_t i = 0; text && i < len; i++)
		(void)snprintf(text + 2 * (size_t)i, 3, "%02x", frame[i]);
	return text;
}

static char *packet_text(const struct packet *packet)
{
	uint8_t frame[MAX_FRAME_BYTES] = {0};
	uint8_t *l4;

	memcpy(frame, packet->dmac, ETH_ALEN);
	memcpy(frame + ETH_ALEN, packet->smac, ETH_ALEN);
	put16(frame + 2 * ETH_ALEN, packet->is_ip6 ? ETH_P_IPV6 : ETH_P_IP);
	l4 = put_ip(packet, frame + ETH_HLEN);
	put_transport(packet, l4, packet->len - (uint32_t)(l4 - frame - ETH_HLEN));
	return to_hex(frame, ETH_HLEN + packet->len);
}

/* The address of the port itself, which its neighbours send to. */
static enum ctl_exit ask_mac(const struct ctl *ctl, const char *port, uint8_t mac[ETH_ALEN])
{
	struct json_object *answer = NULL, *ports;
	enum ctl_exit status = ctl_request(ctl, "show interfaces", &answer);

	if (status != CTL_OK)
		return status;
	status = CTL_FAILED;
	ports = json_at(answer, "interfaces");
	for (size_t i = 0; i < json_length(ports); i++) {
		struct json_object *object = json_object_array_get_idx(ports, i);

		if (strcmp(json_text(object, "port"), port) == 0 &&
		    take_mac(json_text(object, "address"), mac))
			status = CTL_OK;
	}
	json_object_put(answer);
	if (status != CTL_OK)
		(void)refuse(
			port,
			"no such port, or it has no address (explain packet PORT src=… dst=…)");
	return status;
}

static bool is_hex(const char *word)
{
	return word[strspn(word, "0123456789abcdefABCDEF")] == '\0';
}

enum ctl_exit packet_from_words(const struct ctl *ctl, const char *port, char *const words[],
				int n_words, char **ret_hex)
{
	struct packet packet = {.smac = {2, 0, 0, 0, 0, 1}, .proto = IPPROTO_UDP, .ttl = 64};
	enum ctl_exit status = CTL_OK;
	uint32_t min_len;

	if (n_words == 1 && is_hex(words[0])) {
		*ret_hex = strdup(words[0]);
		return *ret_hex ? CTL_OK : CTL_FAILED;
	}
	for (int i = 0; i < n_words; i++) {
		if (!take_word(&packet, words[i]))
			return CTL_USAGE;
	}
	if (!take_addresses(&packet))
		return CTL_USAGE;
	min_len = (uint32_t)(packet.is_ip6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr)) +
		  L4_BYTES;
	packet.len = MAX(packet.len, min_len);
	if (!packet.has_dmac)
		status = ask_mac(ctl, port, packet.dmac);
	if (status != CTL_OK)
		return status;
	*ret_hex = packet_text(&packet);
	return *ret_hex ? CTL_OK : CTL_FAILED;
}
