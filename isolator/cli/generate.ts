/**
 * Part of `npm run generate`: writes what documents say of the program from the program itself: the reference in
 * config/README.md, the hooks in bpf/README.md. With --check it only says whether they are up to date (exit 1 when not).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { renderReference } from "../config/reference.js";
import { HOOKS } from "../kernel/hooks.js";
import { MACHINE_HOOKS } from "../kernel/machine-hooks.js";

function renderHooks(): string {
  const rows = HOOKS.map(
    ({ section, since, purpose, lsm, optional }) =>
      `| \`${section}\` | ${since}${lsm ? ", BPF LSM" : ""} | ${lsm || optional ? "where a policy asks for it" : "each container"} | ${purpose} |`,
  );
  const machine = MACHINE_HOOKS.map(
    ({ hook, since, purpose }) =>
      `| \`lsm/${hook}\` | ${since}, BPF LSM | the machine, while a container has rules for files | ${purpose} |`,
  );
  return [
    "| hook | kernel | attached to | what its program does |",
    "| :-- | :-- | :-- | :-- |",
    ...new Set([...rows, ...machine]),
  ].join("\n");
}

const PARTS: readonly { file: string; name: string; text: string }[] = [
  { file: "config/README.md", name: "reference", text: renderReference() },
  { file: "bpf/README.md", name: "hooks", text: renderHooks() },
];

for (const { file, name, text } of PARTS) {
  const path = fileURLToPath(new URL(`../../../${file}`, import.meta.url));
  const before = readFileSync(path, "utf8");
  // Prettier would have another idea of a table's width.
  const [begin, end] = [
    `<!-- ${name} -->\n<!-- prettier-ignore-start -->`,
    `<!-- prettier-ignore-end -->\n<!-- /${name} -->`,
  ];
  const [from, to] = [before.indexOf(begin), before.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no place for its part "${name}"`);
  const after = `${before.slice(0, from)}${begin}\n\n${text}\n\n${before.slice(to)}`;
  if (!process.argv.includes("--check")) {
    writeFileSync(path, after);
  } else if (after !== before) {
    console.error(`${file} is older than the program that it describes: run npm run generate`);
    process.exitCode = 1;
  }
}
