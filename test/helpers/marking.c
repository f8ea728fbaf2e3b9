/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends in every way that a task may try to mark its packets by, and captures packets at the far end.
 *
 *   marking capture DEVICE       prints "ready", then a JSON line for each IPv4 and IPv6 packet that comes in
 *   marking serve PORT           far end: TCP (MPTCP where the kernel has it) and UDP, IPv4 and IPv6; sends back
 *   marking send WORD...         the task; prints a JSON line of what it did and was told
 *
 * Words of send, each KEY=VALUE:
 *   proto=tcp|udp|mptcp|udplite|raw|ping   family=4|6   to=ADDRESS   port=NUMBER   bind=PORT
 *   connect=1 of UDP    listen=1 of TCP: accepts one connection on the port of bind and sends
 *   uid=NUMBER becomes that user first
 *   tos= tclass= mark= priority=      set by setsockopt() before anything is sent; how=int80 by a 32-bit call
 *   late-tos= late-tclass= late-mark= late-priority=    set after the first packet, and then more is sent
 *   byte=1 IP_TOS of one byte     cmsg-tos= cmsg-tclass= cmsg-mark= cmsg-priority=   by control messages
 *   header=TOS raw with an IPv4 header of its own
 *   count=NUMBER of datagrams     plain=1 no other option is set first
 */
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "marking/marking.h"

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "capture"))
		return capture(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]));
	if (argc < 2 || strcmp(argv[1], "send"))
		errx(2, "usage: see the source");
	alarm(TIMEOUT);
	return task(argc - 2, argv + 2);
}
