/**
 * What this kernel can do, for the status page: by `bpf-isolator check --json` in a process of its own, since trying it
 * takes the event loop for longer than an agent's calls may wait.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { IsolatorError } from "../errors.js";
import type { FeatureView } from "./wire.js";

/** ms */
const TIMEOUT = 60_000;
const MAX_OUTPUT = 1024 * 1024;

function isFeature(value: unknown): value is FeatureView {
  const { feature, status, reasons } = (value ?? {}) as Partial<Record<keyof FeatureView, unknown>>;
  return typeof feature === "string" && typeof status === "string" && Array.isArray(reasons);
}

/**
 * @param command as for execFile(): this program's own
 * @throws internal
 */
export async function readFeatures([file, ...args]: readonly [string, ...string[]]): Promise<FeatureView[]> {
  // It exits with 1 where something fails, and prints all the same.
  const stdout = await promisify(execFile)(file, args, { timeout: TIMEOUT, maxBuffer: MAX_OUTPUT }).then(
    (result) => result.stdout,
    (error: unknown) => (error as { stdout?: string }).stdout ?? "",
  );
  let report: unknown;
  try {
    report = JSON.parse(stdout);
  } catch (error) {
    throw new IsolatorError("internal", `${file} ${args.join(" ")} has printed no JSON`, error);
  }
  const features = (report as { features?: unknown } | null)?.features;
  if (!Array.isArray(features)) throw new IsolatorError("internal", "check has told no features");
  return features
    .filter(isFeature)
    .map(({ feature, status, reasons }) => ({ feature, status, reasons: reasons.map(String) }));
}
