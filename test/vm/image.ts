/**
 * The guest's disks: a base image for each kernel (Node, libraries, tools, modules; cached), and for each boot a small
 * one with the built project and the job. `mke2fs -d` fills an ext4 image from a directory: nothing is mounted, no root.
 */
import { createHash } from "node:crypto";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { realpathSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Cache } from "./cache.js";
import type { Kernel } from "./kernels.js";
import { findTool, requireTool, run, say, seconds } from "./tools.js";

/** The project's top level: this file is dist/test/vm/image.js when it runs. */
export const PROJECT = resolve(import.meta.dirname, "../../..");
const GUEST_SCRIPTS = join(PROJECT, "test/vm/guest");

const MIB = 1 << 20;
/** Room that the guest finds free in an image. Its writes go to a throw-away overlay, images stay as they are. */
const FREE_BYTES = 64 * MIB;

/** Programs that the guest has as this machine has them; all others come from busybox, which comes last in its PATH. */
const REQUIRED = ["bash", "sh", "ip", "ss", "mount", "umount", "setpriv", "setsid", "unshare", "ps", "kill"];
const OPTIONAL =
  "tc nsenter flock prlimit taskset chrt timeout stdbuf sysctl env cat cp mv rm ln ls mkdir mkfifo mknod rmdir chmod chown " +
  "date dd echo false head id sleep seq sort stat tail tee test touch true wc tr cut grep sed awk find ethtool iperf3 nginx losetup truncate mke2fs mkfs.btrfs btrfs";

/** Modules that tests load (veth, sctp, sch_*, ...) and what they need; the whole package would be four times as much. */
const MODULES =
  /^kernel\/(net\/|crypto\/|lib\/|arch\/x86\/crypto\/|fs\/(overlayfs|ext4|jbd2|btrfs)\/|fs\/mbcache|drivers\/(virtio|vhost)\/|drivers\/net\/[^/]+$|drivers\/(block\/(virtio_blk|loop)|char\/virtio_console)\.)/;

/** Modules that lead to the root disk, if the kernel has them as modules. ext4 asks for the crc32c by name, so it is listed. */
const BOOT_MODULES = ["virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4"];

/** Shared libraries that these files need, by absolute path. Static programs and scripts need none. */
export async function sharedLibraries(files: string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const file of files) {
    const output = await run("ldd", [file]).catch(() => "");
    for (const match of output.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm))
      if (match[1] !== undefined) found.add(match[1]);
  }
  return [...found];
}

/** What the base image copies from this machine, besides Node. */
async function hostFiles(): Promise<string[]> {
  const required = REQUIRED.map((name) => requireTool(name, "iproute2, util-linux or procps"));
  const optional = OPTIONAL.split(" ").flatMap((name) => findTool(name) ?? []);
  const programs = [...required, ...optional];
  const libraries = (
    await run("ldconfig", ["-p"], { env: { PATH: `${process.env["PATH"] ?? ""}:/sbin:/usr/sbin` } })
  )
    .split("\n")
    .flatMap((line) => /libbpf\.so\.1 .*x86-64.* => (\S+)/.exec(line)?.[1] ?? []);
  if (libraries.length === 0)
    throw new Error("libbpf.so.1 is missing: isolator/setup/setup.sh installs it (package libbpf1)");
  const roots = [...programs, ...libraries.slice(0, 1), realpathSync(process.execPath)];
  return [...programs, ...libraries.slice(0, 1), ...(await sharedLibraries(roots))];
}

/** Name of the base image: changes when a file, a script or the code that makes it changes. */
function baseKey(kernel: Kernel, files: string[]): string {
  const hash = createHash("sha256").update(readFileSync(import.meta.filename));
  for (const script of readdirSync(GUEST_SCRIPTS)) hash.update(readFileSync(join(GUEST_SCRIPTS, script)));
  for (const file of [process.execPath, requireTool("busybox", "busybox-static"), ...files]) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${realpathSync(file)} ${size} ${mtimeMs}\n`);
  }
  return `base-${kernel.name}-${hash.update(kernel.id).digest("hex").slice(0, 16)}`;
}

/** By kernel: asking each program for its libraries takes half a second. */
const provided = new Map<string, Promise<string>>();

/** Provides the directory with base.img and initramfs.cpio. */
export function provideBase(kernel: Kernel, cache: Cache): Promise<string> {
  const base = provided.get(kernel.id) ?? buildBase(kernel, cache);
  provided.set(kernel.id, base);
  return base;
}

async function buildBase(kernel: Kernel, cache: Cache): Promise<string> {
  const files = await hostFiles();
  return cache.provide(baseKey(kernel, files), async (directory) => {
    const started = Date.now();
    const tree = join(directory, "tree");
    await stageBase(tree, files);
    await stageModules(kernel, tree);
    await makeInitramfs(kernel, tree, join(directory, "initramfs"));
    const bytes = await makeExt4(tree, join(directory, "base.img"));
    rmSync(tree, { recursive: true });
    say(kernel.name, `built the base image in ${seconds(started)} (${Math.round(bytes / MIB)} MiB)`);
  });
}

async function stageBase(tree: string, files: string[]): Promise<void> {
  for (const directory of ["bin", "sbin", "lib", "lib64"]) {
    mkdirSync(join(tree, "usr", directory), { recursive: true });
    symlinkSync(`usr/${directory}`, join(tree, directory));
  }
  const places = "boot dev etc proc root run sys tmp usr/lib/busybox var/lib var/log var/tmp work";
  for (const place of places.split(" ")) mkdirSync(join(tree, place), { recursive: true });
  await run("cp", ["--dereference", "--parents", ...files, tree]);
  cpSync(realpathSync(process.execPath), join(tree, "usr/bin/node"));
  cpSync(requireTool("busybox", "busybox-static"), join(tree, "usr/bin/busybox"), { dereference: true });
  const applets = await run("busybox", ["--list"]);
  for (const applet of applets.trim().split("\n"))
    symlinkSync("/usr/bin/busybox", join(tree, "usr/lib/busybox", basename(applet)));
  // The kernel starts this one by its path when a program asks for a protocol or a qdisc that is a module.
  symlinkSync("/usr/bin/busybox", join(tree, "usr/sbin/modprobe"));
  install(join(GUEST_SCRIPTS, "init.sh"), join(tree, "usr/sbin/vm-init"));
  writeFileSync(join(tree, "etc/passwd"), "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n");
  writeFileSync(join(tree, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  writeFileSync(join(tree, "etc/hosts"), "127.0.0.1 localhost vm\n::1 localhost\n");
}

/** Copies the kernel's configuration and the modules that MODULES names, uncompressed, and indexes these as depmod does. */
async function stageModules(kernel: Kernel, tree: string): Promise<void> {
  const config = `config-${kernel.release}`;
  cpSync(join(dirname(kernel.image), config), join(tree, "boot", config));
  const parent = join(tree, "lib/modules", kernel.release);
  const names = readdirSync(kernel.modules, { recursive: true, encoding: "utf8" });
  const compressed: string[] = [];
  for (const name of names.filter((file) => MODULES.test(file) && /\.ko(\.xz)?$/.test(file))) {
    const target = join(parent, name);
    cpSync(join(kernel.modules, name), target);
    if (name.endsWith(".xz")) compressed.push(target);
  }
  if (compressed.length > 0) await run("busybox", ["unxz", ...compressed]);
  for (const name of ["modules.builtin", "modules.order"])
    cpSync(join(kernel.modules, name), join(parent, name));
  await run("busybox", ["depmod", "-b", tree, kernel.release]);
}

async function makeInitramfs(kernel: Kernel, tree: string, directory: string): Promise<void> {
  for (const name of ["bin", "modules", "proc", "sys", "dev", "root"])
    mkdirSync(join(directory, name), { recursive: true });
  cpSync(join(tree, "usr/bin/busybox"), join(directory, "bin/busybox"));
  install(join(GUEST_SCRIPTS, "initramfs.sh"), join(directory, "init"));
  const modules = join(tree, "lib/modules", kernel.release);
  const order = loadOrder(readFileSync(join(modules, "modules.dep"), "utf8"));
  for (const file of order) cpSync(join(modules, file), join(directory, "modules", basename(file)));
  writeFileSync(join(directory, "modules/order"), order.map((file) => `${basename(file)}\n`).join(""));
  await run("sh", ["-c", "find . | busybox cpio -o -H newc >../initramfs.cpio"], { cwd: directory });
  rmSync(directory, { recursive: true });
}

/** The files of BOOT_MODULES and of what they need, each after its needs. @param dependencies text of modules.dep */
function loadOrder(dependencies: string): string[] {
  const needs = new Map<string, string[]>();
  for (const line of dependencies.split("\n")) {
    const [file, list] = line.split(":");
    if (file !== undefined && list !== undefined) needs.set(file, list.split(" ").filter(Boolean));
  }
  const order = new Set<string>();
  const add = (file: string): void => {
    needs.get(file)?.forEach(add);
    order.add(file);
  };
  for (const name of BOOT_MODULES)
    [...needs.keys()].filter((file) => basename(file) === `${name}.ko`).forEach(add);
  return [...order];
}

/**
 * Makes the disk of one boot, seen as /work in the guest: the built project, what it needs of node_modules, and the job.
 * @param job shell script that the guest runs with bash
 * @param options shell assignments that init.sh reads
 */
export async function makeProjectImage(image: string, job: string, options: string): Promise<void> {
  const tree = `${image}.tree`;
  mkdirSync(join(tree, ".vm"), { recursive: true });
  writeFileSync(join(tree, ".vm/job"), job);
  writeFileSync(join(tree, ".vm/options"), options);
  const parts = ["dist", "package.json", "config", "proto", "test/fixtures", ...productionModules()];
  for (const part of parts.filter((name) => existsSync(join(PROJECT, name)))) {
    cpSync(join(PROJECT, part), join(tree, part), { recursive: true, dereference: true, filter: isRead });
  }
  await stageHelperLibraries(tree);
  await makeExt4(tree, image);
  rmSync(tree, { recursive: true });
}

/** Types and source maps are half of all files, and nothing reads them there. */
function isRead(file: string): boolean {
  return !/\.(map|[cm]?ts)$/.test(file);
}

/** The packages of the lock file that are not for development only. Optional ones of other platforms are not there. */
function productionModules(): string[] {
  const lock = JSON.parse(readFileSync(join(PROJECT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  return Object.entries(lock.packages).flatMap(([path, entry]) =>
    path !== "" && entry.dev !== true ? [path] : [],
  );
}

/** Libraries of the compiled test helpers: init.sh adds those that the base image lacks. */
async function stageHelperLibraries(tree: string): Promise<void> {
  const helpers = join(tree, "dist/test/helpers");
  if (!existsSync(helpers)) return;
  const programs = readdirSync(helpers).filter((name) => !name.includes("."));
  const libraries = await sharedLibraries(programs.map((name) => join(helpers, name)));
  for (const library of libraries)
    cpSync(library, join(tree, ".vm/lib", basename(library)), { dereference: true });
}

/** Copies a script so that it can be run. */
function install(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to);
  chmodSync(to, 0o755);
}

/** Makes an ext4 image of a directory's content, without a journal. @returns its size in bytes, holes included */
async function makeExt4(tree: string, image: string): Promise<number> {
  const used = Number((await run("du", ["-s", "--block-size=1", tree])).split("\t")[0]);
  // Inodes and bitmaps take a few percent more than du says.
  const bytes = Math.ceil((used * 1.1 + FREE_BYTES) / MIB) * MIB;
  writeFileSync(image, "");
  truncateSync(image, bytes);
  const options = [
    "-q",
    "-t",
    "ext4",
    "-O",
    "^has_journal",
    "-E",
    "root_owner=0:0,lazy_itable_init=1",
    "-m",
    "0",
  ];
  await run(requireTool("mke2fs", "e2fsprogs"), [...options, "-d", tree, image]);
  return bytes;
}
