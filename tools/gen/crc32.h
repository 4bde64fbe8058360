/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32 (IEEE 802.3), eight bytes a step. Every error of up to 32 bits in a row is found. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0 or the result for what came before. Thread: any. */
uint32_t crc32_update(uint32_t crc, const void *data, size_t size);
