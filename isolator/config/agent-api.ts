/** `agent_api` of the configuration: how the daemon asks the agent for what its isolators are not told. */
import { z } from "zod";

export interface AgentApi {
  /** Undefined: where the agent says that it listens. */
  url?: string;
  /** A file of Mesos's Credential as JSON; undefined: no authentication. */
  credential?: string;
}

/** @returns why it is no URL of an agent */
function problemOfUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return "is not a URL: give one as in http://127.0.0.1:5051";
  const { protocol, username, pathname, search } = new URL(text);
  if (protocol !== "http:" && protocol !== "https:") return "is not http or https";
  if (username !== "") return "has a user: give credential instead, since this file may be read by others";
  if (pathname !== "/" || search !== "") return "has a path: give scheme, host and port only";
  return undefined;
}

export const AgentApiSchema = z
  .strictObject({
    url: z
      .string()
      .superRefine((text, context) => {
        const message = problemOfUrl(text);
        if (message !== undefined) context.addIssue({ code: "custom", message });
      })
      .optional()
      .meta({
        description:
          "Where the agent listens. Default: http, at the address that the module tells the daemon.",
      }),
    credential: z.string().startsWith("/", { error: "is not an absolute path" }).optional().meta({
      description:
        'File with {"principal": "...", "secret": "..."}, of an entry of the agent\'s --http_credentials. Default: none.',
    }),
  })
  .meta({
    description:
      "The agent's v1 API, which knows the labels and the discovery name of tasks in pods and of custom executors: isolators are not told. Default: not asked.",
  });

export function toAgentApi(input: z.output<typeof AgentApiSchema>): AgentApi {
  const { url, credential } = input;
  return {
    ...(url === undefined ? {} : { url }),
    ...(credential === undefined ? {} : { credential }),
  };
}
