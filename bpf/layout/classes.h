/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Classes of containers, endpoints and services. See layout.h. */
#pragma once

/* Part of a class id: a hash of the class's name below it (isolator/features/classes.ts). */
enum class_bit {
	CLASS_CLAIMED = 0x40000000, /* by nothing but what whoever runs the task has written */
};

/* Classes that an endpoint or a container is in, as far as programs know them. */
#define ENDPOINT_CLASSES 4

/* Class ids; 0: no further one. */
struct class_set {
	enum class_bit ids[ENDPOINT_CLASSES];
};
