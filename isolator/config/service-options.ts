/** What may hold for one service, and for all: keys of `services` of the configuration and of each that is static. */
import { z } from "zod";
import {
  DEFAULT_AVOID,
  NO_BACKEND_ACTIONS,
  SERVICE_AFFINITIES,
  SERVICE_CHOICES,
  SERVICE_PEERS,
  type ServiceOptions,
} from "../features/services.js";

const MAX_AVOID = 3600;

export const SERVICE_OPTIONS = {
  choice: z.enum(SERVICE_CHOICES).optional().meta({
    description:
      "random: by weight. least_connections: of two by chance the one with fewer connections of this host's containers, by weight. Default: random.",
  }),
  affinity: z.enum(SERVICE_AFFINITIES).optional().meta({
    description:
      "container: a container stays with its backend for as long as that is there and answers. Default: none.",
  }),
  prefer_local: z
    .boolean()
    .optional()
    .meta({ description: "Backends on this host come first, while one is not avoided. Default: false." }),
  peer: z.enum(SERVICE_PEERS).optional().meta({
    description:
      "What getpeername() of a TCP socket gives: the backend, as logs want it, or the virtual address. Default: backend.",
  }),
  no_backend: z.enum(NO_BACKEND_ACTIONS).optional().meta({
    description:
      "Where there is none. refuse: ECONNREFUSED at once. pass: it goes on to the virtual address itself. Default: refuse.",
  }),
  avoid: z
    .number()
    .min(0.1, { error: "is less than 0.1 seconds" })
    .max(MAX_AVOID, { error: `is more than ${MAX_AVOID} seconds` })
    .optional()
    .meta({
      description: `Seconds that a backend is avoided for that has refused, or not answered its first SYN. Default: ${DEFAULT_AVOID}.`,
    }),
};

type OptionsInput = { [K in keyof typeof SERVICE_OPTIONS]?: z.output<(typeof SERVICE_OPTIONS)[K]> };

export function toOptions(input: OptionsInput): ServiceOptions {
  const { choice, affinity, prefer_local, peer, no_backend, avoid } = input;
  return {
    ...(choice === undefined ? {} : { choice }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(prefer_local === undefined ? {} : { preferLocal: prefer_local }),
    ...(peer === undefined ? {} : { peer }),
    ...(no_backend === undefined ? {} : { noBackend: no_backend }),
    ...(avoid === undefined ? {} : { avoid }),
  };
}

/** The options of a configuration alone. */
export function optionsOf(all: ServiceOptions): ServiceOptions {
  const { choice, affinity, preferLocal, peer, noBackend, avoid } = all;
  return {
    ...(choice === undefined ? {} : { choice }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(preferLocal === undefined ? {} : { preferLocal }),
    ...(peer === undefined ? {} : { peer }),
    ...(noBackend === undefined ? {} : { noBackend }),
    ...(avoid === undefined ? {} : { avoid }),
  };
}
