/**
 * Tells a service manager how the daemon is: the protocol of sd_notify(3), one datagram to the unix socket that
 * NOTIFY_SOCKET names. Node has no unix datagram sockets.
 */
import { libc } from "./native.js";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of struct sockaddr_un (unix(7)). */
const MAX_PATH = 108;
/** Of a watchdog's time, after which it is told again: two may be late. */
const WATCHDOG_SHARE = 3;

/** struct sockaddr_un; an abstract name, which begins with a NUL, is written with an "@". */
function addressOf(path: string): Uint8Array | undefined {
  const name = Buffer.from(path);
  if (!/^[/@]./.test(path) || name.length >= MAX_PATH) return undefined;
  if (name[0] === 0x40) name[0] = 0;
  const address = new Uint8Array(2 + name.length + (name[0] === 0 ? 0 : 1));
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(name, 2);
  return address;
}

export class ServiceManager {
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly address: Uint8Array | undefined,
    /** ms, or undefined: there is none. */
    private readonly watchdog: number | undefined,
  ) {}

  /**
   * The one that started this process, if one did. Its variables are taken out of the environment: processes that are
   * started here have nothing to tell it.
   */
  static find(env: NodeJS.ProcessEnv = process.env): ServiceManager {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: time, WATCHDOG_PID: pid } = env;
    for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) Reflect.deleteProperty(env, name);
    const meant = pid === undefined || Number(pid) === process.pid;
    const ms = Number(time) / 1000;
    return new ServiceManager(
      path === undefined ? undefined : addressOf(path),
      meant && ms > 0 ? ms : undefined,
    );
  }

  /** The daemon answers from now on. The watchdog is told so by the event loop, which a hang stops. */
  ready(status: string): void {
    this.send(`READY=1\nSTATUS=${oneLine(status)}`);
    if (this.address === undefined || this.watchdog === undefined) return;
    const period = Math.min(this.watchdog / WATCHDOG_SHARE, 2 ** 31 - 1);
    this.timer = setInterval(() => {
      this.send("WATCHDOG=1");
    }, period).unref();
  }

  /** One line for whoever looks at the service. */
  status(text: string): void {
    this.send(`STATUS=${oneLine(text)}`);
  }

  stopping(): void {
    this.send("STOPPING=1");
    clearInterval(this.timer);
  }

  /** A message that does not arrive is no reason for the daemon to fail. */
  private send(message: string): void {
    if (this.address === undefined) return;
    const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    const data = Buffer.from(message);
    libc().sendto(fd, data, data.length, MSG_NOSIGNAL, this.address, this.address.length);
    libc().close(fd);
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/[^ -~]+/g, " ");
}
