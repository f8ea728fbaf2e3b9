/** Colours, on terminals only: what is piped or kept has none. NO_COLOR (no-color.org) is respected. */
import type { WriteStream } from "node:tty";

const CODES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  inverse: [7, 27],
} as const;

export type Colour = keyof typeof CODES | "plain";

/** Gives text a colour, or leaves it as it is. */
export type Paint = (colour: Colour, text: string) => string;

export const PLAIN: Paint = (_, text) => text;

const COLOURED: Paint = (colour, text) => {
  if (colour === "plain") return text;
  const [on, off] = CODES[colour];
  return `\u001b[${on}m${text}\u001b[${off}m`;
};

/** What may be written to this stream. */
export function paintFor(stream: WriteStream, env: NodeJS.ProcessEnv = process.env): Paint {
  const { NO_COLOR: off = "", TERM: terminal } = env;
  return stream.isTTY && off === "" && terminal !== "dumb" ? COLOURED : PLAIN;
}
