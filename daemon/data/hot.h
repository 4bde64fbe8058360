/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Included last by every .c file of data/ that holds per-packet code: what the packet path may not
 * do does not compile there. No allocation, no log, no lock, no stdio, no sleeping. (free(3) is
 * left out: "free" is also a state of frames, and without malloc there is nothing to free.)
 */
#pragma once

#pragma GCC poison malloc calloc realloc strdup asprintf
#pragma GCC poison printf fprintf snprintf vsnprintf puts fopen
#pragma GCC poison log_write log_write_at log_err log_warning log_notice log_info log_debug
#pragma GCC poison pthread_mutex_lock pthread_rwlock_rdlock sem_wait
#pragma GCC poison sleep usleep nanosleep
