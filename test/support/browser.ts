/** A real Chromium without a window: Debian's, driven through playwright-core. */
import { execFileSync } from "node:child_process";
import { chromium, type Browser, type Page } from "playwright-core";
import { after } from "node:test";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

function find(): string | undefined {
  for (const name of NAMES) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

/** Why there is none; false: there is one. */
export function whyNoBrowser(): string | false {
  return find() === undefined ? "no Chromium here (Debian's package chromium)" : false;
}

/** What a page did that it must not do. */
export interface Watched {
  page: Page;
  /** Errors, and all that its Content-Security-Policy refused. */
  complaints: string[];
  /** Places besides its own server that it asked. */
  outside: string[];
}

/** One for all tests of a file, in their network namespace. */
export class TestBrowser {
  private browser: Browser | undefined;

  constructor() {
    after(() => this.browser?.close());
  }

  /**
   * Opens a page.
   * @param options of the page's surroundings
   */
  async open(
    url: string,
    options: {
      colorScheme?: "light" | "dark";
      httpCredentials?: { username: string; password: string };
    } = {},
  ): Promise<Watched> {
    const executablePath = find();
    this.browser ??= await chromium.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    });
    const context = await this.browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
    const page = await context.newPage();
    const watched: Watched = { page, complaints: [], outside: [] };
    page.on("pageerror", (error) => watched.complaints.push(error.message));
    page.on("console", (message) => {
      // Its daemon may be away, and a container may be gone: that is what some tests are about.
      if (message.type() === "error" && !/ERR_|status of 404/.test(message.text()))
        watched.complaints.push(message.text());
    });
    const { origin } = new URL(url);
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== origin) watched.outside.push(request.url());
    });
    await page.goto(url);
    return watched;
  }
}
