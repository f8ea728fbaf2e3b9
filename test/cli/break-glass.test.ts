/** `break-glass`: stops enforcing and goes back, for one container, for all, for those to come. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Container } from "../../isolator/containers/container.js";
import { totalDenied } from "../../isolator/features/accounting.js";
import { assertNothingLeft, policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt, runIsolator, type Result } from "../support/process.js";

enterOwnNetwork();

const { instance, cell } = testInstance();

function breakGlass(...args: string[]): Promise<Result> {
  return runIsolator(["break-glass", "--instance", instance.name, ...args]);
}

async function binds(box: Cell | Container): Promise<boolean> {
  const { node } = box instanceof Container ? box : box.container;
  return (await attempt("bind port=8080", node)).status === 0;
}

const counts = (box: Cell): [denied: bigint, audited: bigint, sent: bigint] => {
  const usage = box.container.counts.usage();
  return [totalDenied(usage.denied), totalDenied(usage.audited), usage.txPackets];
};

describe("break-glass", () => {
  it("--audit refuses nothing and reports, for one container and what is nested in it, and --restore goes back", async () => {
    const web = await cell(["web"], policy("31000-31009"));
    const child = await cell(["web", "child"], policy("31000"), web);
    const other = await cell(["webx"], policy("31010"));
    const { status, stdout } = await breakGlass("--container", "web", "--audit");
    assert.equal(status, 0);
    assert.match(stdout, /nothing is refused any more, .*: web, web\.child\n/);
    assert.match(
      stdout,
      new RegExp(
        `^Back: bpf-isolator break-glass --restore --instance ${instance.name} --container web$`,
        "m",
      ),
    );
    assert.deepEqual([await binds(web), await binds(child), await binds(other)], [true, true, false]);
    assert.deepEqual(counts(child).slice(0, 2), [0n, 1n], "reported, by the innermost level only");
    assert.equal((await breakGlass("--container", "web", "--restore")).status, 0);
    assert.deepEqual([await binds(web), await binds(child), await binds(other)], [false, false, false]);
  });

  it("--detach takes the programs away from all, from new ones too, and --restore brings them back with their counts", async () => {
    const old = await cell(["old"], policy("31020"));
    assert.equal((await attempt("udp-connected-send listen-port=31020", old.container.node)).status, 0);
    const before = counts(old);
    assert(before[2] > 0n);
    const { status, stdout } = await breakGlass("--detach", "--json");
    assert.equal(status, 0);
    const said = JSON.parse(stdout) as { containers: string[]; failures: unknown[]; mode: string };
    assert.deepEqual([said.mode, said.failures], ["detach", []]);
    assert(said.containers.includes("old"));
    const fresh = await cell(["fresh"], policy("31021"));
    assert.deepEqual([await binds(old), await binds(fresh)], [true, true]);
    assert.equal((await attempt("udp-connected-send listen-port=31020", old.container.node)).status, 0);
    assert.deepEqual(counts(old), before, "nothing is counted meanwhile");
    const back = await breakGlass("--restore");
    assert.equal(back.status, 0, back.stderr + back.stdout);
    assert.deepEqual([await binds(old), await binds(fresh)], [false, false]);
    assert.deepEqual(counts(old), [before[0] + 1n, before[1], before[2]]);
    assert.equal((await attempt("bind port=31021", fresh.container.node)).status, 0);
  });

  it("refuses what makes no sense, and changes nothing", async () => {
    for (const [args, message] of [
      [["--audit", "--detach"], /give one of/],
      [[], /give one of/],
      [["--audit", "--container", "nobody"], /no container "nobody" in instance/],
    ] as const) {
      const { status, stderr } = await breakGlass(...args);
      assert.equal(status, args.length === 3 ? 1 : 2);
      assert.match(stderr, message);
    }
    assert.equal(instance.glass, undefined);
  });

  it("stays in force for a run that starts later, and leaves nothing once it is taken back", async () => {
    const name = `${instance.name}-later`;
    const of = (...args: string[]): Promise<Result> =>
      runIsolator(["break-glass", "--instance", name, ...args]);
    const early = await of("--audit");
    assert.equal(early.status, 0);
    assert.match(early.stdout, /has no container now: this is for those to come\n/);
    const bind = "require('net').createServer().listen(8080, '127.0.0.1', () => process.exit(0))";
    const task = [process.execPath, "-e", bind];
    const audited = await runIsolator(["run", "--instance", name, "--ports", "31000", "--", ...task]);
    assert.equal(audited.status, 0);
    assert.match(audited.stderr, /would deny bind\(\) tcp 127\.0\.0\.1:8080/);
    assert.equal((await of("--restore")).status, 0);
    assert.equal(
      (await runIsolator(["run", "--instance", name, "--ports", "31000", "--", ...task])).status,
      1,
    );
    assertNothingLeft(name);
  });
});
