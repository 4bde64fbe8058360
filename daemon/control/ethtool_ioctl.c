/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SIOCETHTOOL ioctl: the driver's name, which netlink does not tell, and the whole of
 * ethtool.h for a kernel without ethtool netlink.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "control/ethtool.h"
#include "util/macros.h"

/* The kernel has some 64 features; this bounds what a newer one may say. */
#define MAX_FEATURES       512
#define MAX_FEATURE_BLOCKS (MAX_FEATURES / 32)

static int ethtool_ioctl(int fd, const char *interface, void *command)
{
	struct ifreq request = {.ifr_data = command};

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

void ethtool_ioctl_driver(int fd, const char *interface, char ret_driver[32])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	ret_driver[0] = '\0';
	if (ethtool_ioctl(fd, interface, &info) == 0)
		(void)snprintf(ret_driver, 32, "%.31s", info.driver);
}

int ethtool_ioctl_channels(int fd, const char *interface, unsigned *ret_n_rx, unsigned *ret_n_tx)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	int r = ethtool_ioctl(fd, interface, &channels);

	if (r < 0)
		return r;
	if (channels.rx_count + channels.combined_count == 0 ||
	    channels.tx_count + channels.combined_count == 0)
		return -EOPNOTSUPP;
	*ret_n_rx = channels.rx_count + channels.combined_count;
	*ret_n_tx = channels.tx_count + channels.combined_count;
	return 0;
}

/* Bit numbers of our offloads in this kernel: its feature names, in order. -1 = it has no such. */
static int find_features(int fd, const char *interface, int ret_bit[LINK_OFFLOAD_N],
			 unsigned *ret_n_features)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t size;
	} set = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
	_cleanup_free_ struct ethtool_gstrings *names = NULL;
	int r = ethtool_ioctl(fd, interface, &set);

	if (r < 0)
		return r;
	if (set.info.sset_mask == 0 || set.size == 0 || set.size > MAX_FEATURES)
		return -EOPNOTSUPP;
	names = calloc(1, sizeof(*names) + (size_t)set.size * ETH_GSTRING_LEN);
	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = set.size;
	r = ethtool_ioctl(fd, interface, names);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		ret_bit[i] = -1;
		for (unsigned bit = 0; bit < set.size; bit++) {
			const char *name = (const char *)names->data + bit * ETH_GSTRING_LEN;

			if (strncmp(name, link_offload_names[i], ETH_GSTRING_LEN) == 0)
				ret_bit[i] = (int)bit;
		}
	}
	*ret_n_features = set.size;
	return 0;
}

int ethtool_ioctl_features(int fd, const char *interface, bool ret_on[LINK_OFFLOAD_N],
			   bool ret_fixed[LINK_OFFLOAD_N])
{
	struct {
		struct ethtool_gfeatures head;
		struct ethtool_get_features_block blocks[MAX_FEATURE_BLOCKS];
	} get = {.head = {.cmd = ETHTOOL_GFEATURES}};
	int bit[LINK_OFFLOAD_N];
	unsigned n_features;
	int r = find_features(fd, interface, bit, &n_features);

	if (r < 0)
		return r;
	get.head.size = (n_features + 31) / 32;
	r = ethtool_ioctl(fd, interface, &get);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		const struct ethtool_get_features_block *block;
		uint32_t mask;

		ret_on[i] = false;
		ret_fixed[i] = true;
		if (bit[i] < 0)
			continue;
		block = &get.blocks[bit[i] / 32];
		mask = 1u << (bit[i] % 32);
		ret_on[i] = block->active & mask;
		ret_fixed[i] = !(block->available & mask) || (block->never_changed & mask);
	}
	return 0;
}

int ethtool_ioctl_set_feature(int fd, const char *interface, enum link_offload offload, bool on)
{
	struct {
		struct ethtool_sfeatures head;
		struct ethtool_set_features_block blocks[MAX_FEATURE_BLOCKS];
	} set = {.head = {.cmd = ETHTOOL_SFEATURES}};
	int bit[LINK_OFFLOAD_N];
	unsigned n_features;
	int r = find_features(fd, interface, bit, &n_features);

	if (r < 0)
		return r;
	if (bit[offload] < 0)
		return -EOPNOTSUPP;
	set.head.size = (n_features + 31) / 32;
	set.blocks[bit[offload] / 32].valid = 1u << (bit[offload] % 32);
	if (on)
		set.blocks[bit[offload] / 32].requested = 1u << (bit[offload] % 32);
	return ethtool_ioctl(fd, interface, &set);
}
