/** Endpoints in the kernel, as a source of the cluster would tell of them. */
import assert from "node:assert/strict";
import { EndpointDirectory } from "../../isolator/cluster/directory.js";
import { HostAddresses } from "../../isolator/cluster/host-addresses.js";
import { ClaimMap, type SourceSink } from "../../isolator/cluster/source.js";
import type { Instance } from "../../isolator/containers/instance.js";
import { EndpointTable } from "../../isolator/kernel/endpoint-table.js";
import { keyOf, type Place } from "../../isolator/features/endpoints.js";
import type { Membership } from "../../isolator/features/classes.js";

export class TestEndpoints {
  readonly directory: EndpointDirectory;
  readonly cluster: SourceSink;
  /** Of this host. */
  readonly addresses: HostAddresses;

  /** @param instance whose programs are loaded; a warning fails the test */
  constructor(instance: Instance) {
    this.directory = new EndpointDirectory(new EndpointTable(instance.loaded), (message) =>
      assert.fail(message),
    );
    this.cluster = this.directory.sink("static", 0);
    this.addresses = new HostAddresses(instance.loaded.map("host_addresses"));
  }

  /** These are all that there are. */
  async replace(entries: readonly (Place & { classes: Membership[] })[]): Promise<void> {
    const claims = new ClaimMap();
    for (const entry of entries) claims.add(keyOf(entry), { classes: entry.classes, task: "" });
    this.cluster.replace(claims);
    await this.directory.settled();
  }

  stop(): void {
    this.addresses.stop();
    this.directory.stop();
  }
}
