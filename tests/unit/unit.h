/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmocka with the headers that it wants before it, in the order that it wants.
 */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
