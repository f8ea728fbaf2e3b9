/** Virtual addresses and backends as `services` of the configuration and labels write them. */
import { isServiceName, MAX_WEIGHT, parsePort, type Backend } from "../features/services.js";

/** What a VIP label or `vip` says: "/web:80", "10.1.2.3:443", "[fd00::1]:80". */
export interface VipSpec {
  /** "/web": its address comes from the range. */
  name?: string;
  address?: string;
  port: number;
}

/** @returns undefined where it is none */
export function parseVip(text: string): VipSpec | undefined {
  const [, name, port] = /^(\/[^:]+):(\d{1,5})$/.exec(text) ?? [];
  const spec = name === undefined ? parsePort(text) : { name, port: Number(port) };
  if (!spec || spec.port < 1 || spec.port > 65535) return undefined;
  return name === undefined || isServiceName(name) ? spec : undefined;
}

/** "10.0.0.1:31000", "10.0.0.1:31000*3" */
export function parseBackend(text: string): Backend | undefined {
  const [end = "", weight, ...more] = text.split("*");
  const at = parsePort(end);
  if (!at || at.port < 1 || at.port > 65535 || more.length > 0) return undefined;
  if (weight === undefined) return at;
  return /^\d{1,5}$/.test(weight) && Number(weight) >= 1 && Number(weight) <= MAX_WEIGHT
    ? { ...at, weight: Number(weight) }
    : undefined;
}
