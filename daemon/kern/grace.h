/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An RCU grace period on demand: after it, no CPU runs a BPF program, or a NAPI poll around one,
 * that began before. It is what stands between "the program was replaced" or "the XSKMAP slot is
 * empty" and "the last frame has gone the old way".
 */
#pragma once

/*
 * Returns when every XDP program run that had begun at the call has ended: 5–30 ms, blocking.
 * Thread: control. Syscalls: bpf(2); needs CAP_BPF.
 */
int grace_wait(void);
