/**
 * The kernels that the lab boots: Debian's own packages, fetched with apt and unpacked in the cache, never installed.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Cache } from "./cache.js";
import { VmUnavailable, findTool, run, say, seconds } from "./tools.js";

interface KernelChoice {
  /** Meta-packages to try: which of them has this release depends on the distribution's own release. */
  metaPackages: string[];
  /** What the package that the meta-package depends on must look like. */
  package: RegExp;
  /** Booted by `npm run test:vm` unless --kernel says otherwise. */
  usual: boolean;
  /** Beginnings of the test files, below test/, that `npm test` runs there; all where not given. */
  part?: readonly string[];
}

/**
 * What BPF LSM has a part in, and that all programs load. All else runs on the kernel before and, on most machines, on a
 * newer one: the machine's own.
 */
const LSM_PART = [
  ...["kernel/", "bypass/", "features/files"],
  ...["containers/escaped", "containers/nesting", "containers/restart"],
];

/** By the name that --kernel takes. The non-cloud ones have more drivers (70 to 107 MB to fetch) and no other BPF. */
export const KERNELS: Record<string, KernelChoice> = {
  "6.1-cloud": {
    metaPackages: ["linux-image-cloud-amd64"],
    package: /^linux-image-6\.1\.\S+-cloud-amd64$/,
    usual: true,
  },
  "6.12-cloud": {
    metaPackages: ["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"],
    package: /^linux-image-6\.12\.\S+-cloud-amd64$/,
    usual: true,
    part: LSM_PART,
  },
  "6.1-rt": {
    metaPackages: ["linux-image-rt-amd64"],
    package: /^linux-image-6\.1\.\S+-rt-amd64$/,
    usual: false,
  },
  "6.12-rt": {
    metaPackages: ["linux-image-6.12-rt-amd64", "linux-image-rt-amd64"],
    package: /^linux-image-6\.12\.\S+-rt-amd64$/,
    usual: false,
  },
};

/** A kernel package unpacked in the cache. */
export interface Kernel {
  /** Key of KERNELS. */
  name: string;
  /** Debian package and version: changes whenever the content does. */
  id: string;
  /** Its release as uname -r says it. */
  release: string;
  /** Path of the boot image. */
  image: string;
  /** Path of the directory lib/modules/<release>. */
  modules: string;
}

interface AptPackage {
  name: string;
  version: string;
}

/** What apt knows, or undefined: the lists may not have the package, or there may be no apt. */
async function resolve(choice: KernelChoice): Promise<AptPackage | undefined> {
  for (const metaPackage of choice.metaPackages) {
    const depends = await run("apt-cache", ["depends", "--important", metaPackage]).catch(() => "");
    const name = [...depends.matchAll(/Depends: (\S+)/g)]
      .map((match) => match[1])
      .find((found) => choice.package.test(found ?? ""));
    if (name === undefined) continue;
    const policy = await run("apt-cache", ["policy", name], { env: { LC_ALL: "C" } });
    const version = /Candidate: (\d\S*)/.exec(policy)?.[1];
    if (version !== undefined) return { name, version };
  }
  return undefined;
}

async function findPackage(name: string, choice: KernelChoice): Promise<AptPackage> {
  if (process.arch !== "x64")
    throw new VmUnavailable(`the kernel lab is for x86-64 machines, this is ${process.arch}`);
  if (findTool("apt-cache") === undefined) {
    throw new VmUnavailable(
      `no apt here: the kernel comes from Debian's ${choice.metaPackages.join(" or ")}`,
    );
  }
  let found = await resolve(choice);
  if (found === undefined && process.getuid?.() === 0) {
    say(name, "apt's lists do not have it: apt-get update");
    await run("apt-get", ["update", "-qq"]);
    found = await resolve(choice);
  }
  if (found === undefined)
    throw new VmUnavailable(`apt has no ${choice.metaPackages.join(" or ")} of this release`);
  return found;
}

/** Fetches and unpacks a package in `directory`. */
async function fetchPackage(name: string, found: AptPackage, directory: string): Promise<void> {
  const started = Date.now();
  // The user that apt would fetch as may not write to root's cache.
  const options = ["-q", "-o", "APT::Sandbox::User=root"];
  await run("apt-get", [...options, "download", `${found.name}=${found.version}`], { cwd: directory });
  const file = readdirSync(directory).find((entry) => entry.endsWith(".deb"));
  if (file === undefined) throw new Error(`apt-get download ${found.name} left no .deb file`);
  await run("dpkg-deb", ["-x", join(directory, file), directory]);
  rmSync(join(directory, file));
  say(name, `fetched and unpacked ${found.name} ${found.version} in ${seconds(started)}`);
}

/** By name: apt takes a second to say what it has. */
const provided = new Map<string, Promise<Kernel>>();

/**
 * Unpacks a kernel of KERNELS in the cache unless it is there; asks apt once in a process.
 * @throws VmUnavailable where this machine's apt does not have it
 */
export function provideKernel(name: string, cache: Cache): Promise<Kernel> {
  const kernel = provided.get(name) ?? unpackKernel(name, cache);
  provided.set(name, kernel);
  return kernel;
}

async function unpackKernel(name: string, cache: Cache): Promise<Kernel> {
  const choice = KERNELS[name];
  if (choice === undefined)
    throw new Error(`no kernel '${name}': there are ${Object.keys(KERNELS).join(", ")}`);
  const provide = async (): Promise<Kernel> => {
    const found = await findPackage(name, choice);
    const id = `${found.name}_${found.version}`;
    const directory = await cache.provide(`kernel-${id}`, (temporary) =>
      fetchPackage(name, found, temporary),
    );
    return locate(name, id, directory);
  };
  try {
    return await provide();
  } catch (error) {
    // The archive drops superseded kernels, and then apt's lists are older than the archive.
    if (error instanceof VmUnavailable || process.getuid?.() !== 0) throw error;
    say(name, `${error instanceof Error ? error.message : String(error)}: apt-get update, then once more`);
    await run("apt-get", ["update", "-qq"]);
    return provide();
  }
}

/** Finds the boot image and the modules of an unpacked package. */
function locate(name: string, id: string, directory: string): Kernel {
  const image = readdirSync(join(directory, "boot")).find((file) => file.startsWith("vmlinuz-"));
  if (image === undefined) throw new Error(`${directory} has no boot/vmlinuz-*`);
  const release = image.slice("vmlinuz-".length);
  const places = ["lib/modules", "usr/lib/modules"].map((parent) => join(directory, parent, release));
  const modules = places.find((path) => existsSync(path));
  if (modules === undefined) throw new Error(`${directory} has no modules of ${release}`);
  return { name, id, release, image: join(directory, "boot", image), modules };
}
