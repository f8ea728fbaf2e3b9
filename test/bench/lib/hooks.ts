/**
 * The cgroup hooks by name: values of enum bpf_attach_type (linux/bpf.h, fixed for ever), named like the programs in
 * empty.bpf.c. lsm_cgroup is missing: it has one attach type for many hooks, and an empty program for each would need
 * the kernel's BTF.
 */
import { HOOKS as ISOLATOR_HOOKS } from "../../../isolator/kernel/hooks.js";

export const HOOKS = {
  ingress: 0,
  egress: 1,
  sock_create: 2,
  sock_ops: 3,
  device: 6,
  bind4: 8,
  bind6: 9,
  connect4: 10,
  connect6: 11,
  post_bind4: 12,
  post_bind6: 13,
  sendmsg4: 14,
  sendmsg6: 15,
  sysctl: 18,
  recvmsg4: 19,
  recvmsg6: 20,
  getsockopt: 21,
  setsockopt: 22,
  getpeername4: 29,
  getpeername6: 30,
  getsockname4: 31,
  getsockname6: 32,
  sock_release: 34,
} as const;

export type Hook = keyof typeof HOOKS;

export const ALL_HOOKS = Object.keys(HOOKS) as Hook[];

/** What the isolator attaches; used where there is no running container to ask. */
export const CORE_HOOKS: readonly Hook[] = ALL_HOOKS.filter((hook) =>
  ISOLATOR_HOOKS.some(({ name }) => name === hook),
);
