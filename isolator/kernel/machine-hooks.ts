/** Hooks of BPF LSM that see the whole machine: those of `files` that no cgroup has room for (hooks.ts). */

/**
 * A hook of BPF LSM whose program is attached to no cgroup: it runs for every process of the machine, and leaves at once
 * for those that are in no container of the instance. Attached by a link that is pinned, while a container needs it.
 */
export interface MachineHook {
  /** The program's name in bpf/isolator.bpf.c. */
  name: string;
  /** The kernel's name for the hook. */
  hook: string;
  /** First kernel that has it. */
  since: string;
  purpose: string;
  /** The kernel does without it before `since`, and so does the isolator. */
  newer?: true;
}

/** enum bpf_attach_type of programs on these. */
export const LSM_MAC = 27;

/** Of `files`. */
export const MACHINE_HOOKS: readonly MachineHook[] = [
  { name: "files_create", hook: "inode_create", since: "5.7", purpose: "refuses making files" },
  { name: "files_mkdir", hook: "inode_mkdir", since: "5.7", purpose: "refuses making directories" },
  {
    name: "files_mknod",
    hook: "inode_mknod",
    since: "5.7",
    purpose: "refuses making devices, FIFOs and unix sockets",
  },
  { name: "files_symlink", hook: "inode_symlink", since: "5.7", purpose: "refuses making symlinks" },
  {
    name: "files_hard_link",
    hook: "inode_link",
    since: "5.7",
    purpose: "refuses hard links, to and in what is ruled",
  },
  { name: "files_unlink", hook: "inode_unlink", since: "5.7", purpose: "refuses removing files" },
  { name: "files_rmdir", hook: "inode_rmdir", since: "5.7", purpose: "refuses removing directories" },
  { name: "files_move", hook: "inode_rename", since: "5.7", purpose: "refuses renaming, in, out and over" },
  {
    name: "files_setattr",
    hook: "inode_setattr",
    since: "5.7",
    purpose: "refuses truncate, chmod, chown and utimes",
  },
  {
    name: "files_setxattr",
    hook: "inode_setxattr",
    since: "5.7",
    purpose: "refuses setting extended attributes",
  },
  {
    name: "files_removexattr",
    hook: "inode_removexattr",
    since: "5.7",
    purpose: "refuses removing extended attributes",
  },
  {
    name: "files_set_acl",
    hook: "inode_set_acl",
    since: "6.2",
    purpose: "refuses setting ACLs",
    newer: true,
  },
  {
    name: "files_remove_acl",
    hook: "inode_remove_acl",
    since: "6.2",
    purpose: "refuses removing ACLs",
    newer: true,
  },
  {
    name: "files_ioctl",
    hook: "file_ioctl",
    since: "5.7",
    purpose: "refuses ioctl() that changes attributes, or makes and removes subvolumes",
  },
  {
    name: "files_ioctl_compat",
    hook: "file_ioctl_compat",
    since: "6.8",
    purpose: "the same for 32-bit processes",
    newer: true,
  },
  {
    name: "files_sb_umount",
    hook: "sb_umount",
    since: "5.7",
    purpose: "refuses unmounting bpffs, where the links of these are pinned",
  },
];
