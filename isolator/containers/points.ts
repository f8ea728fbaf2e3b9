/**
 * The instants between two steps that change something outside of this process. The suite kills the daemon at each of
 * them (BPF_ISOLATOR_KILL_AT=NAME, or NAME#N for the Nth time that it gets there) and checks that nothing is lost:
 * test/daemon/crash.test.ts goes through this list.
 */
export const POINTS = [
  "prepare:reserved",
  "prepare:programs",
  "prepare:node",
  "prepare:recorded",
  "prepare:attached",
  "prepare:policy",
  "prepare:claimed",
  "prepare:done",
  "isolate:moved",
  "isolate:done",
  "update:recorded",
  "update:claimed",
  "update:released",
  "update:done",
  "cleanup:recorded",
  "cleanup:killed",
  "cleanup:released",
  "cleanup:node",
  "cleanup:done",
  "start:locked",
  "start:programs",
  "start:adopted",
  "start:ports",
  "start:upgrade-begun",
  "start:upgrade-announced",
  "start:upgrade-replaced",
  "start:upgrade-recorded",
  "start:done",
] as const;

export type Point = (typeof POINTS)[number];

const [KILL_AT, NTH = "1"] = (process.env["BPF_ISOLATOR_KILL_AT"] ?? "").split("#");
let times = 0;

/** Says that this process has come to a point. */
export function reach(point: Point): void {
  if (point === KILL_AT && ++times === Number(NTH)) process.kill(process.pid, "SIGKILL");
}
