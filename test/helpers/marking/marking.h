/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the marking program share; see ../marking.c. */
#ifndef MARKING_H
#define MARKING_H

#include <netinet/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define TIMEOUT 30

/* The far end. */
int capture(const char *device);
int serve(int port);
/* The task. @param words what it is to do, each KEY=VALUE */
int task(int count, char **words);

#endif
