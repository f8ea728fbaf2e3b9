/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the programs and user space both read or write: the one source of these layouts. isolator/kernel/gen/layout.ts
 * is generated from the BTF of the compiled object (npm run generate), and the BTF is compared with it at every load.
 *
 * No implicit padding: every hole is a named field, so that user space never writes bytes that mean nothing.
 */
#pragma once

#include "layout/accounting.h"
#include "layout/bandwidth.h"
#include "layout/classes.h"
#include "layout/connections.h"
#include "layout/destination.h"
#include "layout/egress.h"
#include "layout/endpoints.h"
#include "layout/events.h"
#include "layout/files.h"
#include "layout/levels.h"
#include "layout/marking.h"
#include "layout/policy.h"
#include "layout/ports.h"
#include "layout/remap.h"
#include "layout/services.h"
#include "layout/sockets.h"
#include "layout/statistics.h"
#include "layout/terminate.h"
