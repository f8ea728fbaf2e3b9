/** `sockets` of the configuration: kinds of sockets that containers may not have. */
import { z } from "zod";
import { passesRules, SOCKET_KINDS, type SocketKind, type SocketsPolicy } from "../features/sockets.js";

const SOCKET_TEXT: Record<SocketKind, string> = {
  raw: "SOCK_RAW of IPv4 and IPv6; ping sockets are none.",
  packet: "AF_PACKET: whole frames of the host's interfaces. Needs BPF LSM.",
  vsock: "AF_VSOCK: to a hypervisor and its other guests. Needs BPF LSM.",
  xdp: "AF_XDP: frames past the network stack. Needs BPF LSM.",
  received:
    "Sockets but unix and netlink ones that somebody outside of the container hands in. Needs BPF LSM.",
};

const DEFAULT_TEXT = Object.fromEntries(
  SOCKET_KINDS.map((kind) => [
    kind,
    passesRules(kind) ? "allow, and deny for a container with rules of egress" : "allow",
  ]),
) as Record<SocketKind, string>;

export const SocketsSchema = z
  .strictObject(
    Object.fromEntries(
      SOCKET_KINDS.map((kind) => [
        kind,
        z
          .enum(["allow", "deny"])
          .optional()
          .meta({ description: `${SOCKET_TEXT[kind]} Default: ${DEFAULT_TEXT[kind]}.` }),
      ]),
    ) as Record<SocketKind, z.ZodOptional<z.ZodEnum<{ allow: "allow"; deny: "deny" }>>>,
  )
  .default({})
  .meta({ description: "Kinds of sockets that containers may not have." });

export function toSockets(input: z.output<typeof SocketsSchema>): SocketsPolicy {
  return Object.fromEntries(
    SOCKET_KINDS.flatMap((kind) => {
      const verdict = input[kind];
      return verdict === undefined ? [] : [[kind, verdict]];
    }),
  );
}
