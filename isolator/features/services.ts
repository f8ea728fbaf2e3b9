/**
 * Services: virtual addresses that lead to backends at connect(). The kernel's side is bpf/services.h; README.md,
 * "Services", is the user's; isolator/cluster/services.ts is where a cluster's come from.
 */
import { IsolatorError } from "../errors.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress, parseAddress } from "./addresses.js";
import { ENDPOINT_PROTOCOLS, type EndpointProtocol } from "./endpoints.js";

export const SERVICE_CHOICES = ["random", "least_connections"] as const;
export type ServiceChoice = (typeof SERVICE_CHOICES)[number];
export const SERVICE_AFFINITIES = ["none", "container"] as const;
export type ServiceAffinity = (typeof SERVICE_AFFINITIES)[number];
export const SERVICE_PEERS = ["backend", "vip"] as const;
export type ServicePeer = (typeof SERVICE_PEERS)[number];
export const NO_BACKEND_ACTIONS = ["refuse", "pass"] as const;
export type NoBackendAction = (typeof NO_BACKEND_ACTIONS)[number];

export interface Backend {
  address: string;
  port: number;
  /** Undefined: 1. */
  weight?: number;
}

/** What is said of a service, or of all that do not say it themselves. */
export interface ServiceOptions {
  choice?: ServiceChoice;
  affinity?: ServiceAffinity;
  /** Backends of this host come first. */
  preferLocal?: boolean;
  /** What getpeername() of TCP tells. */
  peer?: ServicePeer;
  noBackend?: NoBackendAction;
  /** Seconds that a backend is avoided for that has refused or not answered. */
  avoid?: number;
}

export interface Service extends ServiceOptions {
  /** By which rules name it: "/web". */
  name?: string;
  address: string;
  port: number;
  protocol: EndpointProtocol;
  backends: Backend[];
}

/** A container's use of services. */
export interface ServicesPolicy {
  /** Its own. Undefined: those of the daemon, which all of its containers share. */
  own?: Service[];
}

/** Of Marathon: segments of an id are lower-case labels of host names. */
const NAME = /^(\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){1,8}$/;
const MAX_NAME = 128;
export const MAX_WEIGHT = 65535;
export const MAX_BACKENDS = 16384;
export const DEFAULT_AVOID = 10;
/** Set of the services of a daemon; a cgroup id, which that of each `run` is, is never so low. */
export const SHARED_SET = BigInt(layouts.enums.service_sizes.SERVICES_SHARED);

export function isServiceName(name: string): boolean {
  return name.length <= MAX_NAME && NAME.test(name);
}

/** A place of a service or backend, as messages and keys of tables have it: "tcp 10.0.0.1:80". */
export function formatEnd({
  address,
  port,
  protocol,
}: Pick<Service, "address" | "port" | "protocol">): string {
  return `${protocol} ${formatPort({ address, port })}`;
}

/** "10.0.0.1:80", "[fd00::1]:80" */
export function formatPort({ address, port }: Pick<Backend, "address" | "port">): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** 16 bytes. @throws bad-argument */
export function addressBytes(address: string): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes) return bytes;
  throw new IsolatorError("bad-argument", `${JSON.stringify(address.slice(0, 60))} is no address`);
}

export function isIpv4Bytes(bytes: Uint8Array): boolean {
  return formatAddress(bytes).includes(".");
}

/** "10.0.0.1:80", "[fd00::1]:80". @returns undefined where it is neither */
export function parsePort(text: string): { address: string; port: number } | undefined {
  const [, v6, v4, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const bytes = parseAddress(v6 ?? v4 ?? "");
  return bytes && port !== undefined ? { address: formatAddress(bytes), port: Number(port) } : undefined;
}

/** Bits of enum policy_flags. */
export function serviceFlagsOf(policy?: ServicesPolicy): number {
  return policy ? layouts.enums.policy_flags.POLICY_SERVICES : 0;
}

/** Set whose services a container knows. */
export function serviceSet(policy: ServicesPolicy, cgroupId: bigint): bigint {
  return policy.own ? cgroupId : SHARED_SET;
}

/** Fields of struct policy. */
export function serviceFields(policy: ServicesPolicy | undefined) {
  return { services_own: policy?.own ? 1 : 0 };
}

/** Names of the hooks that the policy needs. */
export function serviceHooks(policy?: ServicesPolicy): string[] {
  if (!policy) return [];
  const both = ["connect", "recvmsg", "getpeername"].flatMap((name) => [`${name}4`, `${name}6`]);
  return [...both, "sock_ops_full"];
}

/** Whether a stored value is a policy for services. */
export function isServices(value: unknown): value is ServicesPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { own } = value as Partial<Record<keyof ServicesPolicy, unknown>>;
  return own === undefined || (Array.isArray(own) && own.every((each: unknown) => isService(each)));
}

function isService(value: unknown): value is Service {
  if (typeof value !== "object" || value === null) return false;
  const { address, port, protocol, backends } = value as Partial<Record<keyof Service, unknown>>;
  return (
    typeof address === "string" &&
    typeof port === "number" &&
    ENDPOINT_PROTOCOLS.includes(protocol as EndpointProtocol) &&
    Array.isArray(backends)
  );
}

/**
 * What is wrong with a service by itself; undefined: nothing.
 * @param all that there are: a backend that is itself a virtual address would be a loop
 */
export function serviceProblem(service: Service, all: readonly Service[]): string | undefined {
  const vip = parseAddress(service.address);
  const what = `virtual address ${formatEnd(service)}`;
  if (!vip) return `${what}: ${JSON.stringify(service.address.slice(0, 60))} is no address`;
  if (isNoHost(vip)) return `${what}: it is no address of one host`;
  if (!isPort(service.port)) return `${what}: its port is not 1 to 65535`;
  if (service.backends.length > MAX_BACKENDS)
    return `${what}: it has ${service.backends.length} backends, more than ${MAX_BACKENDS}`;
  const seen = new Set<string>();
  const vips = new Set(all.filter(({ protocol }) => protocol === service.protocol).map(placeOfEnd));
  for (const backend of service.backends) {
    const why = backendProblem(backend, vip, vips);
    if (why !== undefined) return `${what}: backend ${formatPort(backend)} ${why}`;
    if (seen.has(placeOfEnd(backend))) return `${what}: backend ${formatPort(backend)} is there twice`;
    seen.add(placeOfEnd(backend));
  }
  return undefined;
}

/** One text for every way to write the same address. */
export function placeOfEnd({ address, port }: Pick<Backend, "address" | "port">): string {
  const bytes = parseAddress(address);
  return formatPort({ address: bytes ? formatAddress(bytes) : address, port });
}

/** 0.0.0.0, ::, multicast and broadcast. */
function isNoHost(bytes: Uint8Array): boolean {
  const v4 = isIpv4Bytes(bytes);
  const host = v4 ? bytes.subarray(12) : bytes;
  const first = host[0] ?? 0;
  return host.every((byte) => byte === 0) || (v4 ? first >= 224 : first === 0xff);
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

/** @param vips texts of all virtual addresses of its protocol */
export function backendProblem(
  { address, port, weight = 1 }: Backend,
  vip: Uint8Array,
  vips: { has: (place: string) => boolean },
): string | undefined {
  const bytes = parseAddress(address);
  if (!bytes) return "is no address";
  if (isNoHost(bytes)) return "is no address of one host";
  if (isIpv4Bytes(bytes) !== isIpv4Bytes(vip)) return "is not of the same family (IPv4 or IPv6)";
  if (!isPort(port)) return "has no port of 1 to 65535";
  if (!Number.isInteger(weight) || weight < 1 || weight > MAX_WEIGHT)
    return `has no weight of 1 to ${MAX_WEIGHT}`;
  if (vips.has(placeOfEnd({ address, port }))) return "is a virtual address itself";
  return undefined;
}
