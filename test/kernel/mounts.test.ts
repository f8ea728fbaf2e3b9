/** Which cgroup2 is found, in mount tables of real machines (ids and options as their kernels write them). */
// not in the VM: it reads texts, and asks no kernel anything
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  cgroupLayout,
  findCgroup2,
  hasBpffs,
  parseMountinfo,
  requireCgroup2,
  type CgroupLayout,
} from "../../isolator/kernel/mounts.js";

const BASE = `22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard`;

const SYSTEMD_PURE = `${BASE}
28 23 0:23 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
29 23 0:24 / /sys/fs/bpf rw,nosuid,nodev,noexec,relatime shared:11 - bpf bpf rw,mode=700`;

const SYSTEMD_HYBRID = `${BASE}
30 23 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,nr_inodes=1024,mode=755
31 30 0:26 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:27 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
33 30 0:28 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,net_cls,net_prio`;

const ONLY_V1 = `${BASE}
30 23 0:25 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory`;

interface Case {
  name: string;
  text: string;
  /** Path of the cgroup2 that is found. */
  path: string | undefined;
  layout: CgroupLayout;
  readOnly?: boolean;
}

const CASES: Case[] = [
  { name: "systemd, cgroup2 only", text: SYSTEMD_PURE, path: "/sys/fs/cgroup", layout: "pure" },
  { name: "systemd, hybrid", text: SYSTEMD_HYBRID, path: "/sys/fs/cgroup/unified", layout: "hybrid" },
  { name: "v1 only", text: ONLY_V1, path: undefined, layout: "none" },
  { name: "nothing mounted", text: "", path: undefined, layout: "none" },
  {
    name: "Docker's read-only cgroup2 (the mount is ro, the file system is not)",
    text: `1042 1041 0:98 / / rw,relatime master:310 - overlay overlay rw,lowerdir=/a:/b
1046 1042 0:102 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
1047 1046 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate`,
    path: "/sys/fs/cgroup",
    layout: "pure",
    readOnly: true,
  },
  {
    name: "a file system that is read-only itself",
    text: `${BASE}\n28 23 0:23 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 ro`,
    path: "/sys/fs/cgroup",
    layout: "pure",
    readOnly: true,
  },
  {
    name: "a second, writable mount beside a read-only one",
    text: `${BASE}
28 23 0:23 / /sys/fs/cgroup ro,relatime - cgroup2 cgroup2 rw
50 27 0:23 / /mnt/cgroup2 rw,relatime - cgroup2 none rw`,
    path: "/mnt/cgroup2",
    layout: "pure",
  },
  {
    name: "a bind-mounted subtree, which is second choice",
    text: `${BASE}
28 27 0:23 /machine.slice/agent /agent rw,relatime - cgroup2 cgroup2 rw
29 27 0:23 / /mnt/whole rw,relatime - cgroup2 cgroup2 rw`,
    path: "/mnt/whole",
    layout: "pure",
  },
  {
    name: "a bind-mounted subtree alone",
    text: `${BASE}\n28 23 0:23 /machine.slice/agent /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw`,
    path: "/sys/fs/cgroup",
    layout: "pure",
  },
  {
    name: "a tmpfs over the mount point",
    text: `${SYSTEMD_PURE}\n60 28 0:40 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw`,
    path: undefined,
    layout: "none",
  },
  {
    name: "a tmpfs over the directory that the mount point is in",
    text: `${SYSTEMD_HYBRID}\n60 30 0:40 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw`,
    path: undefined,
    layout: "none",
  },
  {
    name: "a tmpfs over a plain directory above the mount point",
    text: `${SYSTEMD_PURE}\n60 23 0:40 / /sys/fs rw,relatime - tmpfs tmpfs rw`,
    path: undefined,
    layout: "none",
  },
  {
    name: "a mount beside it whose name begins alike",
    text: `${SYSTEMD_PURE}\n60 23 0:40 / /sys/fs/cg rw,relatime - tmpfs tmpfs rw`,
    path: "/sys/fs/cgroup",
    layout: "pure",
  },
  {
    name: "cgroup2 mounted again over a hidden one",
    text: `${SYSTEMD_PURE}
60 28 0:40 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw
61 60 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`,
    path: "/sys/fs/cgroup/unified",
    layout: "pure",
  },
  {
    name: "a subtree mounted over the whole",
    text: `${SYSTEMD_PURE}\n60 28 0:23 /part /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw`,
    path: "/sys/fs/cgroup",
    layout: "pure",
  },
  {
    name: "a root that was moved into place, listed after what is in it",
    text: `41 31 0:38 / /cg rw,relatime - cgroup2 cgroup2 rw
31 1 254:0 / / rw,relatime - ext4 /dev/vda rw`,
    path: "/cg",
    layout: "pure",
  },
  {
    name: "a whole root mounted over the old one",
    text: `41 31 0:38 / /cg rw,relatime - cgroup2 cgroup2 rw
31 1 254:0 / / rw,relatime - ext4 /dev/vda rw
50 31 0:40 / / rw,relatime - overlay overlay rw`,
    path: undefined,
    layout: "none",
  },
  {
    name: "a rootfs that is its own parent",
    text: "1 1 0:2 / / rw - rootfs rootfs rw\n28 1 0:23 / /cg rw - cgroup2 none rw",
    path: "/cg",
    layout: "pure",
  },
  {
    name: "spaces, tabs, newlines and backslashes in the path",
    text: `${BASE}\n28 27 0:23 / /a\\040b\\011c\\012d\\134e rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw`,
    path: "/a b\tc\nd\\e",
    layout: "pure",
  },
];

describe("findCgroup2() and cgroupLayout()", () => {
  for (const { name, text, path, layout, readOnly = false } of CASES) {
    it(name, () => {
      const mounts = parseMountinfo(text);
      const found = findCgroup2(mounts);
      assert.equal(found?.path, path);
      if (found) assert.equal(found.readOnly, readOnly);
      assert.equal(cgroupLayout(mounts), layout);
    });
  }
});

describe("parseMountinfo()", () => {
  it("reads every field, however many optional ones there are", () => {
    const lines = ["", "shared:9 ", "shared:9 master:1 propagate_from:2 unbindable "].map(
      (optional) => `31 30 0:26 /a\\040b /c rw,nosuid ${optional}- cgroup2 cgroup2 rw,nsdelegate`,
    );
    for (const mount of parseMountinfo(`${lines.join("\n")}\n`)) {
      assert.deepEqual(mount, {
        id: 31,
        parent: 30,
        root: "/a b",
        path: "/c",
        type: "cgroup2",
        readOnly: false,
        superOptions: "rw,nsdelegate",
      });
    }
  });

  it("leaves out lines that are none", () => {
    assert.deepEqual(parseMountinfo("\n31 30 0:26 / /c\n- - -\n31 30 0:26 / /c rw\n"), []);
  });

  it("takes a dash in a name for a name", () => {
    assert.equal(parseMountinfo("31 30 0:26 / /- rw - tmpfs - rw\n")[0]?.type, "tmpfs");
  });
});

describe("hasBpffs()", () => {
  it("sees it where it is, and not where it is hidden", () => {
    assert.equal(hasBpffs(parseMountinfo(SYSTEMD_PURE)), true);
    assert.equal(hasBpffs(parseMountinfo(SYSTEMD_HYBRID)), false);
    assert.equal(
      hasBpffs(parseMountinfo(`${SYSTEMD_PURE}\n60 29 0:40 / /sys/fs/bpf rw - tmpfs tmpfs rw`)),
      false,
    );
  });
});

describe("requireCgroup2()", () => {
  it("names what is missing, and how to mount it beside v1 and alone", () => {
    const missing = (text: string, message: RegExp): void => {
      assert.throws(() => requireCgroup2(parseMountinfo(text)), { code: "no-cgroup2", message });
    };
    missing(ONLY_V1, / mkdir -p (\S+unified) && mount -t cgroup2 cgroup2 \1$/);
    missing(BASE, /Mount it: mount -t cgroup2 cgroup2 \/sys\/fs\/cgroup$/);
  });

  it("names what is read-only", () => {
    const mounts = parseMountinfo(`${BASE}\n28 23 0:23 / /tmp ro,relatime - cgroup2 cgroup2 rw`);
    assert.throws(() => requireCgroup2(mounts), { code: "cgroup2-read-only" });
  });
});
