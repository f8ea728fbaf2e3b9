// SPDX-License-Identifier: Apache-2.0
/* Attempts on the isolator's maps and programs by bpf(), and bpf() that is nobody else's business. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attempt.h"

#define BIND4 BPF_CGROUP_INET4_BIND

static int call(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static bool has_name(int fd, bool map)
{
	struct bpf_map_info map_info = {};
	struct bpf_prog_info program_info = {};
	union bpf_attr attr = {.info = {.bpf_fd = fd}};

	attr.info.info_len = map ? sizeof(map_info) : sizeof(program_info);
	attr.info.info = map ? (unsigned long)&map_info : (unsigned long)&program_info;
	if (call(BPF_OBJ_GET_INFO_BY_FD, &attr))
		stopped(-1, "info", errno, "");
	return !strcmp(map ? map_info.name : program_info.name, opt.type);
}

/* Walks over all maps or programs of the machine to the one that is named. One that is refused is the one. */
static noreturn void get_by_id(bool map)
{
	union bpf_attr attr = {};
	int fd, refused = 0;
	__u32 id = 0;

	for (;;) {
		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (call(map ? BPF_MAP_GET_NEXT_ID : BPF_PROG_GET_NEXT_ID, &attr))
			break;
		id = attr.next_id;
		memset(&attr, 0, sizeof(attr));
		attr.map_id = id;
		fd = call(map ? BPF_MAP_GET_FD_BY_ID : BPF_PROG_GET_FD_BY_ID, &attr);
		if (fd >= 0 && has_name(fd, map))
			through(-1, "get", opt.type);
		if (fd < 0 && errno != ENOENT)
			refused = errno;
		close(fd);
	}
	stopped(-1, "get", refused ? refused : ENOENT, "");
}

void try_bpf_get(void)
{
	const char *how = how_of("map");
	union bpf_attr attr = {};

	if (!strcmp(how, "pin")) {
		if (!opt.to)
			usage("%s needs to=PIN", opt.name);
		attr.pathname = (unsigned long)opt.to;
		if (call(BPF_OBJ_GET, &attr) < 0)
			failed(-1, "get", errno);
		through(-1, "get", opt.to);
	}
	if (!opt.type)
		usage("%s needs type=NAME", opt.name);
	get_by_id(!strcmp(how, "map"));
}

static int own_node(void)
{
	char dir[8200];
	int fd;

	if (!own_cgroup(dir, sizeof(dir)))
		cannot("cgroup", ENOENT, "no cgroup2 is mounted that shows our own node");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		stopped(-1, "open", errno, dir);
	return fd;
}

/* Takes the isolator's program off our node's bind() hook, and binds. */
void try_bpf_detach(void)
{
	__u32 ids[8] = {};
	int port = need_port(), node = own_node(), program, fd;
	union bpf_attr attr = {.query = {.target_fd = node,
	                                 .attach_type = BIND4,
	                                 .prog_ids = (unsigned long)ids,
	                                 .prog_cnt = sizeof(ids) / sizeof(ids[0])}};

	if (call(BPF_PROG_QUERY, &attr))
		failed(-1, "query", errno);
	if (!attr.query.prog_cnt)
		stopped(-1, "query", ENOENT, "nothing is attached");
	attr = (union bpf_attr){.prog_id = ids[0]};
	program = call(BPF_PROG_GET_FD_BY_ID, &attr);
	if (program < 0)
		failed(-1, "get", errno);
	attr = (union bpf_attr){.target_fd = node, .attach_bpf_fd = program, .attach_type = BIND4};
	if (call(BPF_PROG_DETACH, &attr))
		failed(-1, "detach", errno);
	fd = make_socket();
	do_bind(fd, port);
	through(fd, "bind", "the program is detached");
}

static int load(int type, int attach_type, const struct bpf_insn *code, size_t count)
{
	union bpf_attr attr = {.prog_type = type,
	                       .expected_attach_type = attach_type,
	                       .insns = (unsigned long)code,
	                       .insn_cnt = count,
	                       .license = (unsigned long)"GPL"};

	return call(BPF_PROG_LOAD, &attr);
}

/* Attaches a program of our own after the isolator's that takes back what that one refused. */
void try_bpf_undo(void)
{
	const struct bpf_insn code[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = 0},
	    {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_set_retval},
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	int port = need_port(), node = own_node(), program, fd;
	union bpf_attr attr;

	program = load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BIND4, code, sizeof(code) / sizeof(code[0]));
	if (program < 0)
		failed(-1, "load", errno);
	attr = (union bpf_attr){
	    .target_fd = node, .attach_bpf_fd = program, .attach_type = BIND4, .attach_flags = BPF_F_ALLOW_MULTI};
	if (call(BPF_PROG_ATTACH, &attr))
		failed(-1, "attach", errno);
	fd = make_socket();
	do_bind(fd, port);
	through(fd, "bind", "the refusal is taken back");
}

/* What a container may do for itself. */
void try_bpf_own(void)
{
	const struct bpf_insn code[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	const char *how = how_of("map");
	union bpf_attr attr = {
	    .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1, .map_name = "policies"};
	int fd;

	if (!strcmp(how, "map"))
		fd = call(BPF_MAP_CREATE, &attr);
	else if (!strcmp(how, "filter"))
		fd = load(BPF_PROG_TYPE_SOCKET_FILTER, 0, code, 2);
	else if (!strcmp(how, "device"))
		fd = load(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, code, 2);
	else if (!strcmp(how, "skb"))
		fd = load(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, code, 2);
	else
		usage("unknown how: %s", how);
	if (fd < 0)
		failed(-1, "bpf", errno);
	through(-1, "bpf", how);
}
