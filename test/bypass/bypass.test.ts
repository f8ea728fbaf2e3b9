/** The attempts of attempts.ts, each with the policy off and on. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import { EPHEMERAL_MODES, type EphemeralMode } from "../../isolator/features/ports.js";
import { totalDenied } from "../../isolator/features/accounting.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { attempt, type Outcome } from "../support/process.js";
import { BYPASSES, NEIGHBOUR, OWN, PERMITTED } from "./attempts.js";

enterOwnNetwork();
// Root's ping sockets, as every host has them; a new namespace has none.
sh("sysctl", "-qw", "net.ipv4.ping_group_range=0 0");
const { instance, cell } = testInstance();

/** Attempts run side by side, so each gets ports of its own. */
let next = 0;
function withPorts(words: string): string {
  const n = next++;
  return words
    .replace("NEIGHBOUR_PORT", `${40000 + (n % 200)}`)
    .replace("OWN_PORT", `${31000 + (n % 200)}`)
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

/** Whether, since the last call, the kernel chose one of the neighbour's ports for this container. */
function choseNeighbours(policed: Cell): boolean {
  const events = policed.poll().splice(0);
  return events.some(
    ({ reason, owner }) => reason !== layouts.enums.reason.REASON_BIND && owner === neighbour,
  );
}

let neighbour: bigint | undefined;
const cells = new Map<EphemeralMode | "audit", Cell>();

before(async () => {
  const programs = Programs.open(instance.name);
  refusesListen = programs.has("socket_listen");
  programs.close();
  neighbour = (await cell(["neighbour"], policy(NEIGHBOUR))).container.node.id;
});

for (const mode of EPHEMERAL_MODES) {
  describe(`ephemeral ${mode}`, { concurrency: 6 }, () => {
    before(async () => {
      cells.set(mode, await cell([`policed-${mode}`], policy(OWN, { ephemeral: mode })));
    });
    after(async () => {
      await cells.get(mode)?.container.cleanup();
    });

    for (const { words, step, errno } of BYPASSES[mode]) {
      it(`stops ${words}`, async (test) => {
        const policed = cells.get(mode);
        assert(policed);
        const off = await attempt(withPorts(words));
        if (skipIfImpossible(test, off)) return;
        if (words.startsWith("race-bind") && off.status === 1 && off.errno === null) {
          test.skip("the race is not won here without a policy either");
          return;
        }
        assert.equal(off.status, 0, `without a policy it must get through: ${JSON.stringify(off)}`);
        let on = await attempt(withPorts(words), policed.container.node);
        // The same port, stopped one step earlier, where the kernel happened to choose one of the neighbour's.
        while (on.step !== step && !words.includes("NEIGHBOUR_PORT") && choseNeighbours(policed)) {
          on = await attempt(withPorts(words), policed.container.node);
        }
        if (words.startsWith("race-bind") && on.detail.includes("eperm=0 ")) {
          test.skip("the race did not meet the forbidden port");
          return;
        }
        const byLsm = refusesListen && mode !== "allow" && step === "reach" && !words.startsWith("udp-");
        const expected = byLsm ? ["listen", "EPERM"] : [step, errno];
        assert.deepEqual([on.status, on.step, on.errno], [1, ...expected], JSON.stringify(on));
      });
    }

    for (const words of PERMITTED[mode]) {
      it(`permits ${words}`, async (test) => {
        const policed = cells.get(mode);
        assert(policed);
        let outcome = await attempt(withPorts(words), policed.container.node);
        // Rightly stopped where the kernel happened to choose a port of the neighbour's.
        while (outcome.status === 1 && choseNeighbours(policed)) {
          outcome = await attempt(withPorts(words), policed.container.node);
        }
        if (skipIfImpossible(test, outcome)) return;
        assert.equal(outcome.status, 0, JSON.stringify(outcome));
      });
    }
  });
}

describe("audit", () => {
  for (const [mode, attempts] of Object.entries(BYPASSES) as [EphemeralMode, (typeof BYPASSES)["allow"]][]) {
    it(`lets all that ${mode} stops get through, and reports each once`, async () => {
      const audited = await cell([`audited-${mode}`], policy(OWN, { ephemeral: mode, enforce: "audit" }));
      for (const { words } of attempts) {
        // Its thousands of tries are reported one by one, and rightly.
        if (words.startsWith("race-bind")) continue;
        const before = totalDenied(audited.container.usage().audited);
        const outcome = await attempt(withPorts(words), audited.container.node);
        if (outcome.status === 77) continue;
        assert.equal(outcome.status, 0, `${words}: ${JSON.stringify(outcome)}`);
        const reports = totalDenied(audited.container.usage().audited) - before;
        assert.equal(reports, 1n, `${words}: reported ${reports} times`);
      }
      assert.equal(totalDenied(audited.container.usage().denied), 0n);
      await audited.container.cleanup();
    });
  }
});
