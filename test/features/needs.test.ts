// not in the VM: it asks no kernel anything
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assess, NEEDS, type FeatureNeeds } from "../../isolator/features/needs.js";
import { HOOKS } from "../../isolator/kernel/hooks.js";
import type { ProbeResult } from "../../isolator/kernel/probe.js";
import { PROBES } from "../../isolator/kernel/probes.js";

const ALL_OK: ProbeResult[] = PROBES.map(({ name, since }) => ({ name, ok: true, since, detail: null }));

function without(...names: string[]): ProbeResult[] {
  return ALL_OK.map((result) =>
    names.includes(result.name)
      ? { ...result, ok: false, detail: { code: "EINVAL", reason: "the reason" } }
      : result,
  );
}

describe("NEEDS", () => {
  it("names probes that there are", () => {
    const known = new Set(PROBES.map(({ name }) => name));
    assert.equal(known.size, PROBES.length, "a name is there twice");
    for (const { requires, prefers } of NEEDS) {
      for (const name of [...requires, ...prefers.map(({ probe }) => probe)]) assert(known.has(name), name);
    }
  });

  it("has a feature for every hook", () => {
    const needed = new Set(
      NEEDS.flatMap(({ requires, prefers }) => [...requires, ...prefers.map(({ probe }) => probe)]),
    );
    for (const { name, lsm, fullOf } of HOOKS)
      assert(needed.has(`${lsm ? "lsm" : "hook"}_${fullOf ?? name}`), name);
  });
});

describe("assess()", () => {
  const needs: FeatureNeeds = {
    feature: "ports",
    main: true,
    requires: ["hook_bind4", "hook_bind6"],
    prefers: [{ probe: "lsm_socket_listen", without: "the gap" }],
  };

  it("says that it works", () => {
    assert.deepEqual(assess(needs, ALL_OK), {
      feature: "ports",
      main: true,
      status: "works",
      missing: [],
      reasons: [],
    });
  });

  it("says what stays open", () => {
    const { status, missing, reasons } = assess(needs, without("lsm_socket_listen"));
    assert.deepEqual([status, missing, reasons], ["limited", ["lsm_socket_listen"], ["the gap"]]);
  });

  it("says why it does not work, and each reason once", () => {
    const results = without("hook_bind4", "hook_bind6", "lsm_socket_listen");
    const { status, missing, reasons } = assess(needs, results);
    assert.deepEqual(
      [status, missing, reasons],
      ["fails", ["hook_bind4", "hook_bind6"], ["hook_bind4, hook_bind6: the reason"]],
    );
  });

  it("takes a probe that nobody made for a mistake", () => {
    assert.throws(() => assess({ ...needs, requires: ["hook_nothing"] }, ALL_OK), /hook_nothing/);
  });
});
