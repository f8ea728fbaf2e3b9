/**
 * A machine with a systemd of its own, beside the one that the test runs on: the same files below an overlay in memory,
 * namespaces for everything else, and a cgroup2 whose root is a node of the test's. Nothing that happens in it changes the
 * machine; when it ends, all of it is gone.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { execute, type Result } from "./process.js";
import { until } from "./wait.js";

const SYSTEMD = "/lib/systemd/systemd";
const NEEDS = [SYSTEMD, "/usr/bin/dpkg", "/usr/bin/dpkg-deb", "/usr/bin/deb-systemd-invoke"];

/** $0: a directory of its own; $1: what it sees as /share. */
const BOOT = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
root=$0/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/share"
mount --bind "$1" "$root/share"
# Images for containers forbid that packages start services.
rm -f "$root/usr/sbin/policy-rc.d"
units=$root/etc/systemd/system
rm -rf "$units"
mkdir -p "$units"
# None of the machine's own services: sysinit.target would bring them.
for target in lab sysinit basic; do printf '[Unit]\\nDefaultDependencies=no\\n' >"$units/$target.target"; done
for unit in systemd-journald.service systemd-journald.socket; do ln -s /dev/null "$units/$unit"; done
ip link set lo up
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" ${SYSTEMD} --unit=lab.target --log-target=null
`;

/** Why there can be none here. */
export function whyNoLab(): string | false {
  const missing = NEEDS.filter((path) => !existsSync(path));
  if (missing.length > 0) return `no ${missing.join(", ")} here`;
  try {
    accessSync("/proc/self/ns/cgroup", constants.R_OK);
    if (!readFileSync("/proc/filesystems", "utf8").includes("\toverlay\n"))
      execFileSync("modprobe", ["overlay"]);
    return false;
  } catch {
    return "this kernel has no overlay file system";
  }
}

export class SystemdLab {
  private constructor(
    private readonly child: ChildProcess,
    private readonly directory: string,
    private readonly node: CgroupNode,
    private readonly pid: number,
  ) {}

  /** @param share a directory that it sees as /share */
  static async boot(share: string): Promise<SystemdLab> {
    const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-lab-"));
    const path = join(requireCgroup2(), `bpf-isolator-lab-${process.pid}`);
    mkdirSync(path);
    const node = CgroupNode.open(path);
    if (!node) throw new Error(`${path} is no node`);
    const spaces = ["--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child"];
    const enter = 'echo 0 >"$0/cgroup.procs"; exec "$@"';
    const child = spawn(
      "sh",
      ["-c", enter, path, "unshare", ...spaces, "bash", "-c", BOOT, directory, share],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const pid = await until(
      () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${stderr}`);
        return node
          .allPids()
          .find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(`${SYSTEMD}\0--unit`));
      },
      "systemd is started",
      60_000,
    );
    const lab = new SystemdLab(child, directory, node, pid);
    await until(
      async () => (await lab.run("systemctl", "is-active", "lab.target")).status === 0,
      "systemd is up",
      60_000,
    );
    return lab;
  }

  /** Where the test finds a file of its. */
  path(inside: string): string {
    return `/proc/${this.pid}/root${inside}`;
  }

  /** Runs a command in it, to its end. */
  run(...command: string[]): Promise<Result> {
    return execute(this.entering(command));
  }

  /** Its output, of a command that must succeed. */
  async out(...command: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(...command);
    if (status !== 0) throw new Error(`${command.join(" ")}: exit ${status}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  /** The command line that runs a command in it. */
  entering(command: readonly string[]): string[] {
    const where = ["--target", `${this.pid}`, "--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc"];
    return ["nsenter", ...where, "--root", "--wd", ...command];
  }

  /** Properties of a unit, by name. */
  async show(unit: string, ...names: string[]): Promise<Record<string, string>> {
    const text = await this.out("systemctl", "show", unit, `--property=${names.join(",")}`);
    return Object.fromEntries(
      text.split("\n").map((line) => {
        const at = line.indexOf("=");
        return [line.slice(0, at), line.slice(at + 1)];
      }),
    );
  }

  async end(): Promise<void> {
    const exited = once(this.child, "exit");
    // The first process of its pid namespace: all others go with it, and with the last the mounts.
    process.kill(this.pid, "SIGKILL");
    await exited;
    await this.node.remove();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
