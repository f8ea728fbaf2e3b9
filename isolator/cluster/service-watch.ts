/** Looks at what becomes of the services of a daemon, and tells what has changed: events that an operator sees. */
import { messageOf } from "../errors.js";
import { formatEnd, formatPort, type Backend, type Service } from "../features/services.js";
import type { ServiceTable } from "../kernel/service-table.js";

/** ms between two looks. */
const LOOK = 1_000;

/** What there is to tell of a service, or of one of its backends. */
interface Finding {
  service: Service;
  backend?: Backend;
  says: string;
}

type Log = (message: string, what: "service" | "warning") => void;

function nameOf({ service, backend }: Finding): string {
  const name = service.name ?? formatEnd(service);
  return backend ? `backend ${formatPort(backend)} of service ${name}` : `service ${name}`;
}

export class ServiceWatch {
  private readonly timer: NodeJS.Timeout;
  /** What was told, of what is not as it should be. */
  private known = new Map<string, Finding>();

  constructor(
    private readonly table: ServiceTable,
    private readonly log: Log,
  ) {
    this.timer = setInterval(() => {
      this.look();
    }, LOOK).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    let found: Map<string, Finding>;
    try {
      found = new Map([...this.findings()].map((finding) => [nameOf(finding), finding]));
    } catch (error) {
      this.log(`services cannot be looked at: ${messageOf(error)}`, "warning");
      return;
    }
    for (const [name, { says }] of found)
      if (this.known.get(name)?.says !== says) this.log(`${name} ${says}`, "service");
    for (const [name, finding] of this.known)
      if (!found.has(name) && this.isThere(finding)) this.log(`${name} is well again`, "service");
    this.known = found;
  }

  private *findings(): Generator<Finding> {
    for (const { service, draining } of this.table.list()) {
      if (service.backends.length === 0)
        yield {
          service,
          says:
            service.noBackend === "pass"
              ? "has no backend: connections go on to its own address"
              : "has no backend: it refuses connections",
        };
      for (const backend of draining) yield { service, backend, says: "drains: it gets no new connections" };
    }
    for (const { service, backend } of this.table.avoided()) {
      const { refused = 0n, unanswered = 0n } = this.table.counts(service, backend) ?? {};
      const times = `${refused} and ${unanswered} times so far`;
      yield { service, backend, says: `is avoided: it has refused or not answered (${times})` };
    }
  }

  /** Whether it is still a service, or a backend of one. */
  private isThere({ service, backend }: Finding): boolean {
    const now = this.table.at(formatEnd(service))?.service;
    return (
      now !== undefined && (!backend || now.backends.some((one) => formatPort(one) === formatPort(backend)))
    );
  }
}
