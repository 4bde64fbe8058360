/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the sniffers of net/sniff.h share: how a name is written down. Nobody else includes this. */
#pragma once

#include "net/sniff.h"

enum name_kind { NAME_BAD, NAME_HOST, NAME_ADDRESS };

/* A host name, or an address of either family without brackets, as it is looked up: lower case, one
 * trailing dot gone, an IPv6 address in the form of RFC 5952. Letters, digits, '-' and '_' make
 * labels; nothing is decoded. `ret_name` is for SNIFF_NAME_BYTES, untouched if NAME_BAD. */
enum name_kind sniff_read_name(const uint8_t *text, size_t len, char *ret_name);

/* The address inside of "[…]". */
bool sniff_read_ip6(const uint8_t *text, size_t len, char *ret_name);
