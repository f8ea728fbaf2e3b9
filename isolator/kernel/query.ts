/** Programs that user space asks something, by running them once (BPF_PROG_TEST_RUN): they look where those on hooks do. */
import { IsolatorError } from "../errors.js";
import { LITTLE } from "./codec.js";
import { addressOf, errnoName, libbpf } from "./native.js";

/** struct bpf_test_run_opts of libbpf 1.x, on 64 bits. */
const OPTS = { size: 80, dataIn: 8, dataOut: 16, sizeIn: 24, sizeOut: 28, repeat: 60 } as const;

/**
 * Runs a program with `question` as its packet.
 * @param program file descriptor of it
 * @param question more than 64 bytes
 * @returns the packet as the program has left it
 * @throws map-failed
 */
export function ask(program: number, question: Uint8Array): Uint8Array {
  const answer = new Uint8Array(question.length);
  const opts = new Uint8Array(OPTS.size);
  const view = new DataView(opts.buffer);
  view.setBigUint64(0, BigInt(OPTS.size), LITTLE);
  view.setBigUint64(OPTS.dataIn, addressOf(question), LITTLE);
  view.setBigUint64(OPTS.dataOut, addressOf(answer), LITTLE);
  view.setUint32(OPTS.sizeIn, question.length, LITTLE);
  view.setUint32(OPTS.sizeOut, answer.length, LITTLE);
  view.setInt32(OPTS.repeat, 1, LITTLE);
  const result = libbpf().programTestRun(program, opts);
  if (result < 0) throw new IsolatorError("map-failed", `the kernel cannot be asked: ${errnoName(result)}`);
  return answer;
}
