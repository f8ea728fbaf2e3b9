/** YAML 1.2 text as a plain value that knows where in the text each part of it stands. */
import { Composer, isMap, isScalar, isSeq, LineCounter, Parser, visit } from "yaml";
import type { CST, Document, Node, ParsedNode } from "yaml";

/** From 1, as editors count. */
export interface Position {
  line: number;
  column: number;
}

export interface TextProblem extends Position {
  message: string;
}

/** What a text is read as. Where there are problems, the value is not to be relied on. */
export interface YamlText {
  value: unknown;
  problems: TextProblem[];
  /** Where the value of a key stands, or the key itself; of the innermost part of the path that is there. */
  locate: (path: readonly PropertyKey[], key?: boolean) => Position;
}

/** The library composes by recursion, and a stack that is nearly full can end the whole process. */
const MAX_DEPTH = 32;

/** Offset of the first token that stands too deep. */
function findTooDeep(tokens: readonly CST.Token[]): number | undefined {
  const waiting = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { token, depth } = next;
    if (depth > MAX_DEPTH) return token.offset;
    const children: (CST.Token | null | undefined)[] = [];
    if (token.type === "document") children.push(token.value);
    if ("items" in token) for (const item of token.items) children.push(item.key, item.value);
    for (const child of children) if (child) waiting.push({ token: child, depth: depth + 1 });
  }
  return undefined;
}

/** What YAML permits and this program does not. */
function findUnwanted(document: Document.Parsed, at: (offset: number) => Position): TextProblem[] {
  const problems: TextProblem[] = [];
  const report = (node: Node, message: string): void => {
    problems.push({ ...at(node.range?.[0] ?? 0), message });
  };
  visit(document, {
    Alias: (_, node) => {
      report(node, "aliases (*name) are not read: write the value itself");
    },
    Map: (_, map) => {
      const seen = new Map<unknown, Node>();
      for (const { key } of map.items) {
        if (!isScalar(key)) {
          if (key) report(key as Node, "a key must be plain text");
          continue;
        }
        const name = String(key.value);
        const first = seen.get(name);
        if (first) {
          report(
            key,
            `${JSON.stringify(name)} is given a second time (first in line ${at(first.range?.[0] ?? 0).line}): give it once`,
          );
        } else seen.set(name, key);
        // Objects of the language have one already.
        if (name === "__proto__") report(key, "this key is not allowed");
      }
    },
  });
  return problems;
}

function child(
  node: ParsedNode,
  segment: PropertyKey,
): { key?: ParsedNode; value: ParsedNode | null } | undefined {
  if (isMap<ParsedNode, ParsedNode | null>(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === segment);
    return pair;
  }
  if (isSeq<ParsedNode>(node) && typeof segment === "number") {
    const value = node.items[segment];
    return value && { value };
  }
  return undefined;
}

function findNode(root: ParsedNode | null, path: readonly PropertyKey[], key: boolean): ParsedNode | null {
  let found = root;
  let container = root;
  for (const [i, segment] of path.entries()) {
    const next: ReturnType<typeof child> = container ? child(container, segment) : undefined;
    if (!next) return found;
    const last = i === path.length - 1;
    // A value that is left out stands where its key does.
    const empty = next.value === null || (isScalar(next.value) && next.value.value === null);
    found = next.key && ((last && key) || empty) ? next.key : next.value;
    container = next.value;
  }
  return found;
}

/** Reads a text that is whole and valid Unicode. Never throws. */
export function readYaml(text: string): YamlText {
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const fail = (offset: number, message: string): YamlText => ({
    value: undefined,
    problems: [{ ...at(offset), message }],
    locate: () => at(offset),
  });
  const deep = findTooDeep(tokens);
  if (deep !== undefined) return fail(deep, `nested more than ${MAX_DEPTH} levels deep`);
  // Keys are compared here and not by the library, whose time for it grows with the square of their number.
  const composer = new Composer({ version: "1.2", schema: "core", uniqueKeys: false });
  const documents = [...composer.compose(tokens, true, text.length)];
  const [document, second] = documents;
  if (!document) return fail(0, "nothing in it can be read");
  if (second) return fail(second.range[0], "a second document begins here: give one");
  const problems: TextProblem[] = [...document.errors, ...document.warnings].map(
    ({ message, pos: [offset] }) => ({
      ...at(offset),
      message: message.replace(/^Tabs are.*/, "tabs are not allowed as indentation: use spaces"),
    }),
  );
  problems.push(...findUnwanted(document, at));
  const root = document.contents;
  return {
    value: problems.length > 0 ? undefined : (document.toJS() as unknown),
    problems,
    locate: (path, key = false) => at(findNode(root, path, key)?.range[0] ?? 0),
  };
}
