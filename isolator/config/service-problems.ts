/** What no key of `services` of the configuration alone shows to be wrong. */
import { serviceProblem, type Service } from "../features/services.js";
import { unknownClassIn } from "./classes.js";
import { isAnchored, toMatch } from "./match.js";
import { asList, type Problem } from "./problem.js";
import { StaticSchema, toStatic } from "./services.js";

/** What no key alone shows. @param services, classes, trustedRoles any values of the keys */
export function serviceProblems(services: unknown, classes: unknown, trustedRoles: unknown): Problem[] {
  if (typeof services !== "object" || services === null) return [];
  const { static: entries, claims, range, classes: wanted } = services as Record<string, unknown>;
  const unknown = unknownClassIn(classes);
  const problems = asList(wanted).flatMap((name, i) => unknown(["services", "classes", i], name));
  const parsed = StaticSchema.array().safeParse(asList(entries));
  const all = parsed.success ? parsed.data.map(toStatic) : [];
  const placed = all.flatMap(({ vip, ...rest }): Service[] =>
    vip.address === undefined ? [] : [{ ...rest, address: vip.address, port: vip.port }],
  );
  const seen = new Map<string, number>();
  all.forEach(({ vip, protocol, ...rest }, i) => {
    const path = ["services", "static", i, "vip"];
    if (vip.name !== undefined && range === undefined)
      problems.push({
        path,
        message: "is a name, which has no address without a range: give services.range",
      });
    const key = JSON.stringify([vip, protocol]);
    const first = seen.get(key);
    if (first !== undefined)
      problems.push({ path, message: `is that of services.static[${first}] already: give both as one` });
    else seen.set(key, i);
    const address = vip.address ?? "192.0.2.1";
    const problem = serviceProblem({ ...rest, protocol, address, port: vip.port }, placed);
    if (problem !== undefined)
      problems.push({ path: ["services", "static", i], message: `is wrong: ${problem}` });
  });
  asList(claims).forEach((claim, i) => {
    if (typeof claim !== "object" || claim === null) return;
    const { match, names, addresses } = claim as Record<string, unknown>;
    if (asList(names).length === 0 && asList(addresses).length === 0)
      problems.push({
        path: ["services", "claims", i],
        message: "lets nobody claim anything: give names or addresses",
      });
    if (asList(names).length > 0 && range === undefined)
      problems.push({
        path: ["services", "claims", i, "names"],
        message: "have no addresses without a range: give services.range",
      });
    if (typeof match !== "object" || match === null) return;
    if (!isAnchored(toMatch(match)) && asList(trustedRoles).length === 0)
      problems.push({
        path: ["services", "claims", i, "match"],
        message:
          "is chosen by the framework's users alone, who could claim anything: give role or framework_id as well, or name the roles whose users are trusted in trusted_roles",
      });
  });
  return problems;
}
