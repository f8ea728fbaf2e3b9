/** The attempts of attempts.ts, each with the policy off and on. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import {
  EPHEMERAL_MODES,
  intersectRanges,
  parsePorts,
  type EphemeralMode,
} from "../../isolator/features/ports.js";
import { totalDenied } from "../../isolator/features/accounting.js";
import type { Policy } from "../../isolator/features/policy.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { testAttempts } from "../support/attempts.js";
import type { Outcome } from "../support/process.js";
import { BYPASSES, JUDGED, NEIGHBOUR, OWN, oneOfEach, PERMITTED, RANGE, type Attempt } from "./attempts.js";

enterOwnNetwork();
// Root's ping sockets, as every host has them; a new namespace has none.
sh("sysctl", "-qw", "net.ipv4.ping_group_range=0 0");
const { instance, cell } = testInstance();
const attempt = testAttempts();

/** Attempts run side by side, so each gets ports of its own. */
let next = 0;
function withPorts(words: string): string {
  const n = next++;
  return words
    .replace("NEIGHBOUR_PORT", `${40000 + (n % 200)}`)
    .replace("OWN_PORT", `${31000 + (n % 200)}`)
    .replace("JUDGED_PORT", `${44000 + (n % 200)}`)
    .replace("FREE_PORT", `${50000 + n}`)
    .replace("PORT", `${20000 + n}`);
}

function skipIfImpossible(test: TestContext, { status, detail, errno }: Outcome): boolean {
  if (status !== 77) return false;
  test.skip(`this kernel cannot do it: ${errno ?? detail}`);
  return true;
}

/** With BPF LSM a listener that the mode forbids is refused, without it is unreachable. */
let refusesListen = false;

/**
 * Makes an attempt in the container. `choseNeighbours`: whether meanwhile the kernel chose one of the neighbour's ports for
 * it, or for another of the attempts that run beside this one, whose events are not this one's to take away.
 */
async function attemptIn(policed: Cell, words: string): Promise<Outcome & { choseNeighbours: boolean }> {
  const seen = policed.poll().length;
  const outcome = await attempt(withPorts(words), policed.container.node);
  const choseNeighbours = policed
    .poll()
    .slice(seen)
    .some(({ reason, owner }) => reason !== layouts.enums.reason.REASON_BIND && owner === neighbour);
  return { ...outcome, choseNeighbours };
}

let neighbour: bigint | undefined;

before(async () => {
  const programs = Programs.open(instance.name);
  refusesListen = programs.has("socket_listen");
  programs.close();
  neighbour = (await cell(["neighbour"], policy(NEIGHBOUR))).container.node.id;
});

/** @param byLsm where the policy forbids the listener of an attempt at step "reach", LSM refuses it at listen() */
function stops({ words, step, errno }: Attempt, getCell: () => Cell | undefined, byLsm: boolean): void {
  it(`stops ${words}`, async (test) => {
    const policed = getCell();
    assert(policed);
    const off = await attempt(withPorts(words));
    if (skipIfImpossible(test, off)) return;
    if (words.startsWith("race-bind") && off.status === 1 && off.errno === null) {
      test.skip("the race is not won here without a policy either");
      return;
    }
    assert.equal(off.status, 0, `without a policy it must get through: ${JSON.stringify(off)}`);
    let on = await attemptIn(policed, words);
    // The same port, stopped one step earlier, where the kernel happened to choose one of the neighbour's.
    while (on.step !== step && !words.includes("NEIGHBOUR_PORT") && on.choseNeighbours) {
      on = await attemptIn(policed, words);
    }
    if (words.startsWith("race-bind") && on.detail.includes("eperm=0 ")) {
      test.skip("the race did not meet the forbidden port");
      return;
    }
    const refused = refusesListen && byLsm && step === "reach" && !words.startsWith("udp-");
    const expected = refused ? ["listen", "EPERM"] : [step, errno];
    assert.deepEqual([on.status, on.step, on.errno], [1, ...expected], JSON.stringify(on));
  });
}

/** Whether the kernel happened to choose a port of the range that is judged, where it is rightly stopped. */
function choseJudged({ status, port }: Outcome): boolean {
  return status === 1 && intersectRanges([{ begin: port, end: port }], parsePorts(JUDGED)).length > 0;
}

function permits(words: string, getCell: () => Cell | undefined): void {
  it(`permits ${words}`, async (test) => {
    const policed = getCell();
    assert(policed);
    let outcome = await attemptIn(policed, words);
    // Rightly stopped where the kernel happened to choose a port of the neighbour's.
    while (outcome.status === 1 && (outcome.choseNeighbours || choseJudged(outcome))) {
      outcome = await attemptIn(policed, words);
    }
    if (skipIfImpossible(test, outcome)) return;
    if (words.startsWith("race-bind") && outcome.status === 1 && outcome.errno === null) {
      test.skip("the race is not won here");
      return;
    }
    assert.equal(outcome.status, 0, JSON.stringify(outcome));
  });
}

/** A container for the tests of the describe() that calls it. */
function useCell(name: string, rules: Policy): () => Cell | undefined {
  let made: Cell | undefined;
  before(async () => {
    made = await cell([name], rules);
  });
  after(async () => {
    await made?.container.cleanup();
  });
  return () => made;
}

for (const mode of EPHEMERAL_MODES) {
  describe(`ephemeral ${mode}`, { concurrency: 16 }, () => {
    const getCell = useCell(`policed-${mode}`, policy(OWN, { ephemeral: mode }));
    for (const attempt of BYPASSES[mode]) stops(attempt, getCell, mode !== "allow");
    for (const words of PERMITTED[mode]) permits(words, getCell);
  });
}

for (const mode of ["clients", "deny"] as const) {
  const { stopped, permitted } = RANGE[mode];
  describe(`a judged range, ephemeral ${mode}`, { concurrency: 16 }, () => {
    const [judged] = parsePorts(JUDGED);
    assert(judged);
    const getCell = useCell(`ranged-${mode}`, policy(OWN, { ephemeral: mode, judged }));
    // Which port an unbound listener gets is not known yet when LSM is asked.
    for (const attempt of stopped) stops(attempt, getCell, !attempt.words.includes("how=listen"));
    for (const words of permitted) permits(words, getCell);
  });
}

const ALL_BYPASSES = Object.entries(BYPASSES) as [EphemeralMode, Attempt[]][];

/** Makes all attempts, each of which must get through. @param reported audited denials of each, exactly */
async function letsAllThrough(box: Cell, attempts: readonly Attempt[], reported: bigint): Promise<void> {
  for (const { words } of attempts) {
    // Its thousands of tries are reported one by one, and rightly.
    if (words.startsWith("race-bind")) continue;
    const before = totalDenied(box.container.counts.usage().audited);
    const outcome = await attempt(withPorts(words), box.container.node);
    if (outcome.status === 77) continue;
    assert.equal(outcome.status, 0, `${words}: ${JSON.stringify(outcome)}`);
    const reports = totalDenied(box.container.counts.usage().audited) - before;
    assert.equal(reports, reported, `${words}: counted ${reports} times`);
  }
  assert.equal(totalDenied(box.container.counts.usage().denied), 0n);
}

describe("audit", () => {
  for (const [mode, attempts] of ALL_BYPASSES) {
    it(`lets all that ${mode} stops get through, and reports each once`, async () => {
      const audited = await cell([`audited-${mode}`], policy(OWN, { ephemeral: mode, enforce: "audit" }));
      await letsAllThrough(audited, attempts, 1n);
      assert(audited.poll().length > 0);
      await audited.container.cleanup();
    });
  }
});

describe("off", () => {
  for (const [mode, attempts] of ALL_BYPASSES) {
    it(`lets what ${mode} stops get through, counts each once and reports none`, async () => {
      const exempt = await cell([`exempt-${mode}`], policy(OWN, { ephemeral: mode, enforce: "off" }));
      await letsAllThrough(exempt, oneOfEach(attempts), 1n);
      assert.deepEqual(exempt.poll(), []);
      await exempt.container.cleanup();
    });
  }
});

describe("a network namespace of its own", () => {
  it("lets everything through, and neither counts nor reports it", async () => {
    const apart = await cell(["apart"], policy("", { ephemeral: "deny", ownNetwork: true }));
    await letsAllThrough(apart, oneOfEach(ALL_BYPASSES.flatMap(([, attempts]) => attempts)), 0n);
    assert.deepEqual(apart.poll(), []);
    await apart.container.cleanup();
  });
});
