/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The layout of PROXY version 2, for its reader and its writer. Nobody else includes this. */
#pragma once

#define PROXY_V2_SIGNATURE       "\r\n\r\n\0\r\nQUIT\n"
#define PROXY_V2_SIGNATURE_BYTES 12
#define PROXY_V2_COMMAND         12
#define PROXY_V2_FAMILY          13
#define PROXY_V2_LENGTH          14
#define PROXY_V2_FIXED_BYTES     16

#define PROXY_V2_VERSION       0x20
#define PROXY_COMMAND_LOCAL    0
#define PROXY_COMMAND_PROXY    1
#define PROXY_TRANSPORT_STREAM 1

#define PROXY_TLV_HEADER_BYTES 3
#define PROXY_TLV_CRC32C       0x03
#define PROXY_TLV_SSL          0x20
#define PROXY_CRC_BYTES        4
