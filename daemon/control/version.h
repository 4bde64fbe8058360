/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -V and -VV: what a bug report needs. Libraries as compiled against and as loaded, and each
 * kernel feature that has a fall-back, probed now. Thread: main. Probing may need capabilities;
 * what cannot be asked is said so.
 */
#pragma once

#include <stdio.h>

void version_print(FILE *out);
void version_print_long(FILE *out);
