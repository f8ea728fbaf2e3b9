/** Alert rules and dashboard, by promtool where there is one: rules that fire when they should, expressions that parse. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { execute } from "../support/process.js";

const CONFIG = fileURLToPath(new URL("../../../config", import.meta.url));
const ALERTS = join(CONFIG, "prometheus/alerts.yaml");
const tool = (await execute(["sh", "-c", "command -v promtool"])).stdout.trim();
const skip = tool === "" ? "no promtool here (Debian's package prometheus)" : false;

interface Dashboard {
  panels: { title: string; targets: { expr: string }[] }[];
}

describe("monitoring", { skip }, () => {
  it("has alert rules that are right", async () => {
    const { status, stdout, stderr } = await execute([tool, "check", "rules", ALERTS]);
    assert.equal(status, 0, stdout + stderr);
  });

  it("has alerts that fire when they should, and only then", async () => {
    const tests = join(CONFIG, "prometheus/alerts.test.yaml");
    const { status, stdout, stderr } = await execute([tool, "test", "rules", tests]);
    assert.equal(status, 0, stdout + stderr);
    const named = (file: string): Set<string> =>
      new Set(
        [...readFileSync(file, "utf8").matchAll(/alert(?:name)?: (\w+)/g)].map(([, name = ""]) => name),
      );
    assert.deepEqual(named(tests), named(ALERTS));
  });

  it("has a dashboard whose expressions are right", async () => {
    const text = readFileSync(join(CONFIG, "grafana/bpf-isolator.json"), "utf8");
    const { panels } = JSON.parse(text) as Dashboard;
    const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-grafana-"));
    try {
      const file = join(directory, "rules.yaml");
      const rules = panels
        .flatMap(({ targets }) => targets.map(({ expr }) => expr.replaceAll("$__rate_interval", "5m")))
        .map((expr, i) => ({ record: `panel:expression:${i}`, expr }));
      assert(rules.length > 10);
      // JSON is YAML too.
      writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
      const { status, stdout, stderr } = await execute([tool, "check", "rules", file]);
      assert.equal(status, 0, stdout + stderr);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
