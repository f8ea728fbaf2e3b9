/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How deep containers may be nested. See layout.h. */
#pragma once

/* Nested containers deeper than this are refused at prepare. Mesos itself makes at most three levels. */
#define LEVELS 4
