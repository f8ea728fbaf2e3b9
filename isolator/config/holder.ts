/** The configuration in use, and how another one comes into use. */
import { ConfigError, loadConfig, type LoadedConfig } from "./load.js";
import type { Config } from "./schema.js";

export class ConfigHolder {
  private readonly subscribers = new Set<(config: Config) => void>();
  private problems: readonly string[] = [];
  private read = new Date();

  private constructor(
    private loaded: LoadedConfig,
    private readonly given: string | undefined,
    private readonly byDefault: string | undefined,
  ) {}

  /**
   * @param given file of --config
   * @param byDefault the default file, if another than DEFAULT_CONFIG_FILE
   * @throws ConfigError (bad-config)
   */
  static open(given?: string, byDefault?: string): ConfigHolder {
    return new ConfigHolder(loadConfig(given, byDefault), given, byDefault);
  }

  /** The configuration in use. */
  get config(): Config {
    return this.loaded.config;
  }

  /** With its place: for chooseInstance(). */
  get source(): LoadedConfig {
    return this.loaded;
  }

  /** File that the configuration in use came from; undefined: there was none, all is at its default. */
  get file(): string | undefined {
    return this.loaded.found ? this.loaded.file : undefined;
  }

  /** When the configuration in use was read. */
  get readAt(): Date {
    return this.read;
  }

  /** Why the file as it was at the last reload() is not in use; empty: it is. */
  get errors(): readonly string[] {
    return this.problems;
  }

  /** Calls `changed` after each reload() that brought a configuration into use. @returns ends that */
  subscribe(changed: (config: Config) => void): () => void {
    this.subscribers.add(changed);
    return () => {
      this.subscribers.delete(changed);
    };
  }

  /**
   * Reads the file again. A bad one changes nothing.
   * @returns what is wrong with it, one line each; empty: it is in use now
   */
  reload(): readonly string[] {
    try {
      const next = loadConfig(this.given, this.byDefault);
      this.problems = this.changesRefused(next);
      if (this.problems.length > 0) return this.problems;
      this.loaded = next;
      this.read = new Date();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.problems = error.problems;
      return this.problems;
    }
    for (const changed of this.subscribers) changed(this.config);
    return this.problems;
  }

  /** What is good for a start and not for a daemon that runs. */
  private changesRefused(next: LoadedConfig): string[] {
    if (this.loaded.found && !next.found) {
      return [
        `${next.file}: it was here at the last reading and is not now: an empty file means all defaults`,
      ];
    }
    if (next.config.instance === this.config.instance) return [];
    const was = this.config.instance === undefined ? "not given" : JSON.stringify(this.config.instance);
    return [
      `${next.at("instance")}: cannot change while the daemon runs (it was ${was} at its start): restart it, or set it back`,
    ];
  }
}
