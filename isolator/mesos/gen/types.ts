// Generated from proto/ by isolator/mesos/generate.ts (npm run generate). Do not edit.
export namespace bpf_isolator {
  export interface Call {
    /** Which call it is. Needed, and the field of the same name where there is one; LIST and GET_STATUS have none. */
    readonly type?: bpf_isolator.Call.Type | undefined;
    readonly handshake?: bpf_isolator.Call.Handshake | undefined;
    readonly recover?: bpf_isolator.Call.Recover | undefined;
    readonly prepare?: bpf_isolator.Call.Prepare | undefined;
    readonly isolate?: bpf_isolator.Call.Isolate | undefined;
    readonly watch?: bpf_isolator.Call.Watch | undefined;
    readonly update?: bpf_isolator.Call.Update | undefined;
    readonly usage?: bpf_isolator.Call.Usage | undefined;
    readonly status?: bpf_isolator.Call.Status | undefined;
    readonly cleanup?: bpf_isolator.Call.Cleanup | undefined;
    readonly events?: bpf_isolator.Call.Events | undefined;
    readonly endpoints?: bpf_isolator.Call.Endpoints | undefined;
    readonly explain?: bpf_isolator.Call.Explain | undefined;
    readonly break_glass?: bpf_isolator.Call.BreakGlass | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Call {
    export enum Type {
      /** What a type is that the receiver does not know. */
      UNKNOWN = 0,
      /** From a Mesos agent's isolator module: its Isolator interface, call by call. */
      HANDSHAKE = 1,
      RECOVER = 2,
      PREPARE = 3,
      ISOLATE = 4,
      /** Answered by a stream of Response records of type WATCH. It stays open, mostly empty, until cleanup. */
      WATCH = 5,
      UPDATE = 6,
      USAGE = 7,
      STATUS = 8,
      CLEANUP = 9,
      /** From an operator. */
      LIST = 20,
      /** Answered by a stream of Response records of type EVENTS. */
      EVENTS = 21,
      GET_STATUS = 22,
      /** Answered by a stream of Response records of type ENDPOINTS. */
      ENDPOINTS = 30,
      EXPLAIN = 31,
      /** Answered by a stream of Response records of type SERVICES. */
      SERVICES = 32,
      BREAK_GLASS = 33,
    }
    /** Who calls, and what it can do. Repeat it after a reconnect: the daemon may be another one by then. */
    export interface Handshake {
      /** Name of the module or program that calls, for logs. Needed. */
      readonly name?: string | undefined;
      /** Its version. */
      readonly version?: string | undefined;
      /** Version of the Mesos that it is loaded into; absent for what is no module. */
      readonly mesos_version?: string | undefined;
      /** Versions of this protocol that it speaks. Needed. */
      readonly protocol_versions?: readonly number[] | undefined;
      /** Where the agent itself listens, which its executors must always reach. */
      readonly agent_address?: mesos.Address | undefined;
      /** The agent's --work_dir. */
      readonly agent_work_dir?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** The agent has started: what of its containers is left. */
    export interface Recover {
      /** Containers that it knows, parents before children. */
      readonly states?: readonly mesos.slave.ContainerState[] | undefined;
      /** Containers that its launcher found and it does not know. It will clean them up. */
      readonly orphans?: readonly mesos.ContainerID[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** A container is about to be launched. The same call again gets the same answer. */
    export interface Prepare {
      /** Needed. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** Needed. */
      readonly container_config?: mesos.slave.ContainerConfig | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** The container's first process exists and waits. */
    export interface Isolate {
      /** Needed. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** In the daemon's pid namespace. Needed. */
      readonly pid?: number | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Watch {
      /** Needed. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** The container's resources, all of them, have changed to these. */
    export interface Update {
      /** Needed. */
      readonly container_id?: mesos.ContainerID | undefined;
      readonly resource_requests?: readonly mesos.Resource[] | undefined;
      /** By name of the resource. */
      readonly resource_limits?: { readonly [key: string]: mesos.Value.Scalar } | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** One of the two is needed. Unknown containers are answered too. */
    export interface Usage {
      readonly container_id?: mesos.ContainerID | undefined;
      /** For several at once, at most 1024: the feature "usage-of-many". */
      readonly container_ids?: readonly mesos.ContainerID[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Status {
      /** Needed. Unknown containers are answered too. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** All processes of the container have ended. */
    export interface Cleanup {
      /** Needed. Unknown containers are a success. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Events {
      /** Whether to go on with what happens after the call; without it the stream ends after the events that are kept. Absent means false. */
      readonly follow?: boolean | undefined;
      /** Only events of this container and those nested in it. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Endpoints {
      /** Only those in this class of the configuration. */
      readonly class_name?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** What would become of a connection of a container. */
    export interface Explain {
      /** Needed. */
      readonly container_id?: mesos.ContainerID | undefined;
      /** Of the destination. Needed. */
      readonly address?: string | undefined;
      /** Host byte order; absent: none, as of raw and ping sockets. */
      readonly port?: number | undefined;
      /** "tcp" or "udp". Default: tcp, where there is a port. */
      readonly protocol?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** What an operator has switched off, or on again, and could not write down: it holds for as long as the daemon lives. What
     * is written down the daemon finds by itself. */
    export interface BreakGlass {
      /** What it was told before of this container and all that is nested in it is forgotten; absent: of all. */
      readonly container_id?: mesos.ContainerID | undefined;
      readonly words?: readonly bpf_isolator.Call.BreakGlass.Word[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export namespace BreakGlass {
      export interface Word {
        /** Absent: of all, those to come included. */
        readonly container_id?: mesos.ContainerID | undefined;
        /** "audit" or "detach"; absent: back to the policy. */
        readonly mode?: string | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
    }
  }
  export interface Response {
    /** Which answer it is, with the field of the same name where there is one. */
    readonly type?: bpf_isolator.Response.Type | undefined;
    readonly handshake?: bpf_isolator.Response.Handshake | undefined;
    readonly prepare?: bpf_isolator.Response.Prepare | undefined;
    readonly watch?: bpf_isolator.Response.Watch | undefined;
    readonly usage?: bpf_isolator.Response.Usage | undefined;
    readonly status?: bpf_isolator.Response.Status | undefined;
    readonly list?: bpf_isolator.Response.List | undefined;
    readonly events?: bpf_isolator.Response.Events | undefined;
    readonly get_status?: bpf_isolator.Response.GetStatus | undefined;
    readonly endpoints?: bpf_isolator.Response.Endpoints | undefined;
    readonly explain?: bpf_isolator.Response.Explain | undefined;
    readonly services?: bpf_isolator.Response.Services | undefined;
    readonly error?: bpf_isolator.Response.Error | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Response {
    export enum Type {
      /** What a type is that the receiver does not know. */
      UNKNOWN = 0,
      /** The call failed, or a stream had to end. */
      ERROR = 100,
      /** Answer to the call of the same name. RECOVER, ISOLATE, UPDATE, CLEANUP and BREAK_GLASS
       * have nothing to say but that. */
      HANDSHAKE = 1,
      RECOVER = 2,
      PREPARE = 3,
      ISOLATE = 4,
      WATCH = 5,
      UPDATE = 6,
      USAGE = 7,
      STATUS = 8,
      CLEANUP = 9,
      LIST = 20,
      EVENTS = 21,
      GET_STATUS = 22,
      ENDPOINTS = 30,
      EXPLAIN = 31,
      SERVICES = 32,
      BREAK_GLASS = 33,
    }
    export interface Error {
      /** Stable name, such as "port-owned"; the HTTP status is a function of it. */
      readonly code?: string | undefined;
      /** For people: what happened to which container, why, and what to do about it. */
      readonly message?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Handshake {
      /** "bpf-isolator". */
      readonly name?: string | undefined;
      /** The daemon's version. */
      readonly version?: string | undefined;
      /** Versions of this protocol that the daemon speaks. */
      readonly protocol_versions?: readonly number[] | undefined;
      /** The highest that both speak: what the two use from here on. */
      readonly protocol_version?: number | undefined;
      /** What this daemon can do beyond the version, by name. */
      readonly features?: readonly string[] | undefined;
      readonly pid?: number | undefined;
      /** Name of the daemon's instance (serve --instance). */
      readonly instance?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Prepare {
      /** Absent: nothing to add to the launch. */
      readonly launch_info?: mesos.slave.ContainerLaunchInfo | undefined;
      /** What STATUS answers of the container, where it has more to say than the id: for a module that answers an agent's
       * status() by itself. A reload of the configuration may change it. */
      readonly status?: mesos.ContainerStatus | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Watch {
      /** The container has to end. */
      readonly limitation?: mesos.slave.ContainerLimitation | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Usage {
      /** `timestamp` is when it was measured: a module clears it before it hands the message to its agent. */
      readonly statistics?: mesos.ResourceStatistics | undefined;
      /** Of each of container_ids, in their order. */
      readonly all?: readonly mesos.ResourceStatistics[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Status {
      readonly status?: mesos.ContainerStatus | undefined;
      /** What to add to the launch of DEBUG containers in it, of which the daemon is not asked. Absent: nothing. PREPARE says
       * the same by `launch_info`. */
      readonly session_launch_info?: mesos.slave.ContainerLaunchInfo | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface List {
      /** Parents before children, sorted by id. */
      readonly containers?: readonly bpf_isolator.ContainerSummary[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Events {
      readonly event?: bpf_isolator.Event | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface GetStatus {
      readonly status?: bpf_isolator.DaemonStatus | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** Some of them: the stream has as many records as it takes. */
    export interface Endpoints {
      readonly endpoints?: readonly bpf_isolator.Endpoint[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** Some of them, likewise. */
    export interface Services {
      readonly services?: readonly bpf_isolator.Service[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** By the tables that the kernel uses, one a level of nesting that has rules, the container's own first. */
    export interface Explain {
      readonly verdicts?: readonly bpf_isolator.EgressVerdict[] | undefined;
      /** What is known of the destination. */
      readonly classes?: readonly bpf_isolator.ClassMembership[] | undefined;
      /** It is an address of this host. */
      readonly local?: boolean | undefined;
      /** Container that owns the port there. */
      readonly owner?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  export enum Enforcement {
    /** Violations are refused. */
    ON = 1,
    /** Violations are only reported. */
    AUDIT = 2,
    /** Violations are only counted: exempt by the configuration. */
    OFF = 3,
  }
  /** A number of something, by name. */
  export interface Count {
    readonly name?: string | undefined;
    readonly count?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** A container as an operator sees it. */
  export interface ContainerSummary {
    readonly container_id?: mesos.ContainerID | undefined;
    readonly state?: bpf_isolator.ContainerSummary.State | undefined;
    /** Ports of its own, sorted. A nested container without any has its parent's: see inherits_ports. */
    readonly ports?: readonly mesos.Value.Range[] | undefined;
    readonly inherits_ports?: boolean | undefined;
    /** It has a network namespace of its own (this network's name), and so no policy for the host's ports. */
    readonly network?: string | undefined;
    /** Absent: no policy at all. */
    readonly enforcement?: bpf_isolator.Enforcement | undefined;
    /** Processes in it and in those nested in it. */
    readonly pids?: number | undefined;
    /** Counters since prepare(). */
    readonly statistics?: mesos.ResourceStatistics | undefined;
    /** What was refused, by reason. */
    readonly denied?: readonly bpf_isolator.Count[] | undefined;
    /** What AUDIT or OFF let through and ON would have refused, by reason. */
    readonly audited?: readonly bpf_isolator.Count[] | undefined;
    /** Events of it that nobody could be told of. */
    readonly events_lost?: bigint | undefined;
    /** Seconds since the epoch. */
    readonly prepared_at?: number | undefined;
    /** From the agent's ExecutorInfo and TaskInfo where it gave one. Chosen by a framework: escape them before printing. */
    readonly framework_id?: string | undefined;
    readonly executor_id?: string | undefined;
    readonly task_id?: string | undefined;
    /** DEFAULT, or DEBUG: a session in its parent's policy. */
    readonly container_class?: mesos.slave.ContainerClass | undefined;
    /** "agent", or "run" for a task of the command line. */
    readonly origin?: string | undefined;
    /** cgroup v2 node, absolute path. */
    readonly cgroup?: string | undefined;
    /** What the operator has switched off for it, or for all: "audit" or "detach" (bpf-isolator break-glass). */
    readonly break_glass?: string | undefined;
    /** Classes of the configuration that it is in, in their order. */
    readonly classes?: readonly bpf_isolator.ClassMembership[] | undefined;
    /** Absent: packets are as the task makes them. */
    readonly marking?: bpf_isolator.Marking | undefined;
    /** Absent: neither limited nor measured. */
    readonly bandwidth?: bpf_isolator.Bandwidth | undefined;
    readonly files?: bpf_isolator.FileRules | undefined;
    /** bind() to the container port gives the host port. Without a protocol: TCP and UDP. */
    readonly port_mappings?: readonly mesos.NetworkInfo.PortMapping[] | undefined;
    /** Rules of egress that it has; 0 with egress_default "deny": nothing is allowed. */
    readonly egress_rules?: number | undefined;
    /** "allow" or "deny"; absent: it has no rules. */
    readonly egress_default?: string | undefined;
    /** Those that have refused or reported something. */
    readonly egress_counts?: readonly bpf_isolator.EgressRuleCount[] | undefined;
    /** Absent: they are not counted. */
    readonly connections?: bpf_isolator.Connections | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace ContainerSummary {
    export enum State {
      UNKNOWN = 0,
      /** prepare() is done, no process yet. */
      PREPARED = 1,
      /** isolate() is done. */
      ISOLATED = 2,
      /** Taken over from an earlier daemon or agent; its policy is the persisted one until the first update(). */
      RECOVERED = 3,
      /** cleanup() could not finish, and is tried again. */
      CLEANING = 4,
      /** What is known of it is damaged; it keeps the policy that the kernel has. */
      BROKEN = 5,
      /** An agent's that was launched before there was a daemon: it is under no policy until it is launched again. */
      UNMANAGED = 6,
    }
  }
  /** Connections that a container holds: live ones, and closed ones whose port the kernel keeps for a while. */
  export interface Connections {
    /** To all destinations that are counted. */
    readonly held?: number | undefined;
    readonly live?: number | undefined;
    /** Of those held, to destinations that found no room for a count of their own and share one. */
    readonly shared?: number | undefined;
    /** To a destination that no rule names, and to all together; absent: any number. */
    readonly limit?: number | undefined;
    readonly limit_total?: number | undefined;
    /** Some destinations, those that most are held to first. */
    readonly top?: readonly bpf_isolator.HeldDestination[] | undefined;
    /** Ports held that the kernel has chosen; absent: not counted. */
    readonly ports?: number | undefined;
    readonly limit_ports?: number | undefined;
    /** To a destination that has none of its own, by the host's view; absent: connections_fair is off. */
    readonly share?: number | undefined;
    /** What the first rule leaves out, most often the agent's own address: "10.0.0.1:5051". */
    readonly uncounted?: string | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface HeldDestination {
    /** "tcp", "udp", "udplite". */
    readonly protocol?: string | undefined;
    readonly address?: string | undefined;
    readonly port?: number | undefined;
    readonly held?: number | undefined;
    /** For all containers together: how many hold it, and which share of the ports that the host's kernel chooses from. */
    readonly containers?: number | undefined;
    readonly share?: number | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** What the packets of a container have. What is absent is the task's own.
   * What a container may send and receive, and what of it it uses. */
  export interface Bandwidth {
    readonly egress?: bpf_isolator.Bandwidth.Direction | undefined;
    readonly ingress?: bpf_isolator.Bandwidth.Direction | undefined;
    /** Share of the host's budget; absent: not under it. */
    readonly weight?: number | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Bandwidth {
    export interface Direction {
      /** Bytes a second, IP headers included; absent: no limit. Where it is a share of the host's budget, that of now. */
      readonly rate?: bigint | undefined;
      /** Bytes a second in the last step of the programs; absent: nothing in the last second. */
      readonly measured?: bigint | undefined;
      /** In which all of the rate was used. */
      readonly throttled_ms?: bigint | undefined;
      /** Packets over the limit. */
      readonly dropped?: bigint | undefined;
      /** Packets that ECN marked. */
      readonly marked?: bigint | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  export interface Marking {
    /** 0 to 63. */
    readonly dscp?: number | undefined;
    readonly mark?: number | undefined;
    /** Bits of `mark` that are set; the others are the task's. */
    readonly mark_mask?: number | undefined;
    readonly priority?: number | undefined;
    /** Of what goes to some destinations; the first that fits holds. */
    readonly destinations?: readonly bpf_isolator.MarkingDestination[] | undefined;
    /** What becomes of a setsockopt() that would change it: "deny"; absent: ignored. */
    readonly change?: string | undefined;
    /** What becomes of a packet with another DSCP: "rewrite" or "drop"; absent: counted. */
    readonly wrong_dscp?: string | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface MarkingDestination {
    /** In words: "class storage, tcp, ports 9000". */
    readonly to?: string | undefined;
    /** What it says; all else is as for other destinations. */
    readonly marking?: bpf_isolator.Marking | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Rules for files: numbers of paths. */
  export interface FileRules {
    readonly deny?: number | undefined;
    readonly readonly?: number | undefined;
    readonly allow?: number | undefined;
    /** "EACCES" or "EPERM". (C++ makes code of the names here, and errno is a macro there.) */
    readonly errno_name?: string | undefined;
    /** Paths that are not there yet, at most 100. Only a daemon knows them. */
    readonly missing?: readonly string[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** That a container is in a class. */
  export interface ClassMembership {
    readonly name?: string | undefined;
    /** By nothing but what whoever runs the task has written: it takes away, and gives nothing. */
    readonly claimed?: boolean | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** What the rules of one container come to for a destination. */
  export interface EgressVerdict {
    readonly container?: string | undefined;
    /** "allow", "deny" or "audit". */
    readonly action?: string | undefined;
    /** What decides: the name of a rule ("egress[3]"), "the default", or "its own port". */
    readonly by?: string | undefined;
    /** Destinations of that rule. */
    readonly rule?: string | undefined;
    /** The first rule for the address, and the first for a class of the destination, where there are any. */
    readonly by_address?: string | undefined;
    readonly by_class?: string | undefined;
    /** The class of by_class. */
    readonly class_name?: string | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** A rule of egress of a container, and what it has done. */
  export interface EgressRuleCount {
    /** "egress[3]", "--deny-egress 10.0.0.0/8", "the default". */
    readonly rule?: string | undefined;
    readonly denied?: bigint | undefined;
    readonly audited?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** A place of the cluster, and what it is. */
  export interface Endpoint {
    /** "10.1.2.3", "fd00::1", or a block of addresses, "10.0.0.0/8". */
    readonly address?: string | undefined;
    /** Host byte order; absent: the whole address, or block. */
    readonly port?: number | undefined;
    /** "tcp" or "udp"; absent: both. */
    readonly protocol?: string | undefined;
    /** In the order of the configuration. The kernel knows the first four. */
    readonly classes?: readonly bpf_isolator.ClassMembership[] | undefined;
    /** Whose it is, where the source says so: of a master, "FRAMEWORK/TASK". Chosen by a framework. */
    readonly task?: string | undefined;
    /** "static", "file", "master"; "before": what an earlier daemon knew. */
    readonly source?: string | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** A virtual address, and where connect() to it goes. */
  export interface Service {
    /** "/web", where it has a name. */
    readonly name?: string | undefined;
    /** By which it resolves in the file of hosts. */
    readonly host?: string | undefined;
    readonly address?: string | undefined;
    readonly port?: number | undefined;
    /** "tcp" or "udp". */
    readonly protocol?: string | undefined;
    readonly backends?: readonly bpf_isolator.ServiceBackend[] | undefined;
    /** Times that a connect() or send found no backend. */
    readonly misses?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** What is known of a backend, over all containers of this host. */
  export interface ServiceBackend {
    readonly address?: string | undefined;
    readonly port?: number | undefined;
    readonly weight?: number | undefined;
    /** "active", "avoided" (it has refused or not answered), "draining" (it gets no new connections). */
    readonly state?: string | undefined;
    /** TCP connections now. */
    readonly connections?: number | undefined;
    /** Times that it was chosen. */
    readonly connects?: bigint | undefined;
    /** Connections that it refused, and whose first SYN nobody answered. */
    readonly refused?: bigint | undefined;
    readonly unanswered?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Of all services. */
  export interface ServiceTotals {
    readonly services?: number | undefined;
    readonly backends?: number | undefined;
    readonly avoided?: number | undefined;
    /** Services that have no backend. */
    readonly without?: number | undefined;
    /** What of labels could not be used, by kind. */
    readonly ignored?: readonly bpf_isolator.Count[] | undefined;
    /** Why the kernel does not have all services; absent: it has, or will in a moment. */
    readonly error?: string | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Where endpoints come from. */
  export interface EndpointSource {
    /** "static", "file", "master". */
    readonly name?: string | undefined;
    /** The file, or the master that is asked: host and port. */
    readonly where?: string | undefined;
    /** "waiting": it has said nothing yet. "current". "stale": it is away, and what it said last holds. */
    readonly state?: string | undefined;
    /** Places that it names. */
    readonly endpoints?: bigint | undefined;
    /** Seconds since it last said anything, a heartbeat too. */
    readonly age?: number | undefined;
    /** Why it is not current. */
    readonly error?: string | undefined;
    /** Of its places, those that several of its tasks claim: the newest holds. */
    readonly duplicates?: bigint | undefined;
    /** What of it could not be used, by kind, since the daemon's start. */
    readonly ignored?: readonly bpf_isolator.Count[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Something that happened. */
  export interface Event {
    /** Seconds since the epoch. */
    readonly time?: number | undefined;
    /** Stable name: "denied", "audited", "reported", "prepared", "port-taken-over", "events-lost", ... */
    readonly type?: string | undefined;
    /** Absent: the daemon itself. */
    readonly container_id?: mesos.ContainerID | undefined;
    /** One line for people, untrusted text escaped. */
    readonly message?: string | undefined;
    readonly denial?: bpf_isolator.Event.Denial | undefined;
    /** Number of events lost, of "events-lost". */
    readonly lost?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Event {
    /** What was refused, or reported only. */
    export interface Denial {
      /** The kernel hook's reason, such as "bind" or "listen". */
      readonly reason?: string | undefined;
      /** "tcp", "udp", "sctp", ... */
      readonly protocol?: string | undefined;
      /** "ipv4" or "ipv6". */
      readonly family?: string | undefined;
      /** Local address that was asked for, where the hook knows it. */
      readonly address?: string | undefined;
      /** Host byte order; 0: one that the kernel chooses. */
      readonly port?: number | undefined;
      readonly pid?: number | undefined;
      readonly uid?: number | undefined;
      /** Process name with everything but printable ASCII as \xNN. */
      readonly process?: string | undefined;
      /** Nothing was refused, but nothing reaches the socket. */
      readonly unreachable?: boolean | undefined;
      /** Container that the port belongs to, if any. */
      readonly owner?: string | undefined;
      /** Nanoseconds since boot, suspend included. */
      readonly boot_time?: bigint | undefined;
      /** Of "marking": the option that setsockopt() would have changed, such as "IP_TOS". */
      readonly option?: string | undefined;
      /** Of "marking": DSCP of a packet; then there is no process. */
      readonly dscp?: number | undefined;
      /** Of "bind": the port that was asked for, where a mapping made it `port`. */
      readonly asked_port?: number | undefined;
      /** Of "file". */
      readonly file?: bpf_isolator.Event.File | undefined;
      /** Of "egress": the rule that decided, by its number; 8191: the default. */
      readonly rule?: number | undefined;
      /** Its name: "egress[3]", "the default". */
      readonly rule_name?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** What a container asked for of a file. */
    export interface File {
      /** "open", "open_write", "exec", "create", "mkdir", "mknod", "symlink", "link", "unlink", "rmdir", "rename",
       * "attributes", "xattr" or "umount". */
      readonly operation?: string | undefined;
      /** "deny" or "readonly", or what stands for a rule: "disconnected", "too_deep", "pin", "subvolume". */
      readonly rule?: string | undefined;
      /** As the task sees it, with everything but printable ASCII as \xNN. Absent where it could not be had. */
      readonly path?: string | undefined;
      /** The path begins at the root of its file system; a long one lacks its beginning. */
      readonly within?: boolean | undefined;
      /** Of the file system, as MAJOR:MINOR. */
      readonly device?: string | undefined;
      /** 0: not there yet. */
      readonly inode?: bigint | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** Facts about the daemon. */
  export interface DaemonStatus {
    readonly version?: string | undefined;
    readonly instance?: string | undefined;
    readonly pid?: number | undefined;
    /** Seconds since the epoch. */
    readonly started_at?: number | undefined;
    /** Containers known, by state. */
    readonly containers?: readonly bpf_isolator.Count[] | undefined;
    /** Resident memory, bytes. */
    readonly memory_bytes?: bigint | undefined;
    /** The last handshake of a module since the daemon's start. */
    readonly agent?: bpf_isolator.Call.Handshake | undefined;
    /** Absolute path; absent: the defaults. */
    readonly config_file?: string | undefined;
    /** Why the file as it is now is not used; absent: it is. */
    readonly config_error?: string | undefined;
    /** Seconds since the epoch: when the configuration in use was read. */
    readonly config_read_at?: number | undefined;
    /** The newest events, oldest first. */
    readonly events?: readonly bpf_isolator.Event[] | undefined;
    /** Calls under way, this one included, and streams open. */
    readonly calls?: number | undefined;
    readonly streams?: number | undefined;
    /** Version of the kernel, and of the attached programs (a hash of their object). */
    readonly kernel?: string | undefined;
    readonly programs?: string | undefined;
    /** Streams that were ended because their client did not read, since the daemon's start. */
    readonly streams_dropped?: bigint | undefined;
    /** What the operator has switched off for all containers: "audit" or "detach" (bpf-isolator break-glass). */
    readonly break_glass?: string | undefined;
    /** Where operators ask over HTTP, as in "127.0.0.1:5052"; absent: nowhere. */
    readonly operator_address?: string | undefined;
    /** Where most connections of all containers of the host's network go, most first. */
    readonly destinations?: readonly bpf_isolator.HeldDestination[] | undefined;
    /** Sources of endpoints. */
    readonly endpoint_sources?: readonly bpf_isolator.EndpointSource[] | undefined;
    /** Why the kernel does not have all endpoints; absent: it has, or will in a moment. */
    readonly endpoints_error?: string | undefined;
    /** Services, their backends that get new connections, and those that are avoided. */
    readonly services?: bpf_isolator.ServiceTotals | undefined;
    /** The daemon's last look at programs and policies in the kernel; absent: none yet. */
    readonly self_check?: bpf_isolator.SelfCheck | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Whether the programs are on the containers' nodes, and their policies are what they should be. */
  export interface SelfCheck {
    /** Seconds since the epoch. */
    readonly time?: number | undefined;
    readonly containers?: number | undefined;
    /** Since the daemon's start. */
    readonly repaired?: bigint | undefined;
    readonly failures?: readonly bpf_isolator.SelfCheck.Failure[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace SelfCheck {
    export interface Failure {
      readonly container?: string | undefined;
      readonly message?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
}
export namespace mesos {
  /** Pairs that a framework chose. They are never trusted to loosen a policy. */
  export interface Labels {
    readonly labels?: readonly mesos.Label[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface Label {
    readonly key: string;
    readonly value?: string | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface FrameworkID {
    readonly value: string;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface SlaveID {
    readonly value: string;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface TaskID {
    readonly value: string;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface ExecutorID {
    readonly value: string;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** A nested container names its parent. A level has 1 to 242 bytes: no control character, space, ".", "/" or "\". */
  export interface ContainerID {
    readonly value: string;
    readonly parent?: mesos.ContainerID | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface ResourceProviderID {
    readonly value: string;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface Address {
    readonly hostname?: string | undefined;
    readonly ip?: string | undefined;
    readonly port: number;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface Value {
    readonly type: mesos.Value.Type;
    readonly scalar?: mesos.Value.Scalar | undefined;
    readonly ranges?: mesos.Value.Ranges | undefined;
    readonly set?: mesos.Value.Set | undefined;
    readonly text?: mesos.Value.Text | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Value {
    export enum Type {
      SCALAR = 0,
      RANGES = 1,
      SET = 2,
      TEXT = 3,
    }
    export interface Scalar {
      readonly value: number;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** Both ends belong to it. */
    export interface Range {
      readonly begin: bigint;
      readonly end: bigint;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Ranges {
      readonly range?: readonly mesos.Value.Range[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Set {
      readonly item?: readonly string[] | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface Text {
      readonly value: string;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** Resources of one name and one reservation. A container may have several entries named "ports"; it has all of them.
   * Left out: disk (7). */
  export interface Resource {
    readonly name: string;
    readonly type: mesos.Value.Type;
    readonly scalar?: mesos.Value.Scalar | undefined;
    readonly ranges?: mesos.Value.Ranges | undefined;
    readonly set?: mesos.Value.Set | undefined;
    /** Says nothing where `reservations` or `allocation_info` do. Absent means "*". */
    readonly role?: string | undefined;
    readonly reservation?: mesos.Resource.ReservationInfo | undefined;
    readonly revocable?: mesos.Resource.RevocableInfo | undefined;
    readonly shared?: mesos.Resource.SharedInfo | undefined;
    readonly allocation_info?: mesos.Resource.AllocationInfo | undefined;
    readonly provider_id?: mesos.ResourceProviderID | undefined;
    readonly reservations?: readonly mesos.Resource.ReservationInfo[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Resource {
    export interface AllocationInfo {
      readonly role?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface ReservationInfo {
      readonly principal?: string | undefined;
      readonly labels?: mesos.Labels | undefined;
      readonly role?: string | undefined;
      readonly type?: mesos.Resource.ReservationInfo.Type | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export namespace ReservationInfo {
      export enum Type {
        UNKNOWN = 0,
        STATIC = 1,
        DYNAMIC = 2,
      }
    }
    export interface RevocableInfo {
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface SharedInfo {
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** Left out: secrets of variables (4), which nothing here has any business with. */
  export interface Environment {
    readonly variables?: readonly mesos.Environment.Variable[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace Environment {
    export interface Variable {
      readonly name: string;
      readonly value?: string | undefined;
      /** Absent means "VALUE". */
      readonly type?: mesos.Environment.Variable.Type | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export namespace Variable {
      export enum Type {
        UNKNOWN = 0,
        VALUE = 1,
        SECRET = 2,
      }
    }
  }
  /** With `shell`, `value` is run by sh -c; without, `value` is the file and `arguments` are its argv. */
  export interface CommandInfo {
    readonly uris?: readonly mesos.CommandInfo.URI[] | undefined;
    readonly environment?: mesos.Environment | undefined;
    readonly value?: string | undefined;
    readonly user?: string | undefined;
    /** Absent means true. */
    readonly shell?: boolean | undefined;
    readonly arguments?: readonly string[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace CommandInfo {
    export interface URI {
      readonly value: string;
      readonly executable?: boolean | undefined;
      /** Absent means true. */
      readonly extract?: boolean | undefined;
      readonly cache?: boolean | undefined;
      readonly output_file?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** A port that a task offers. `protocol` is "tcp" or "udp"; a port with both has two entries. */
  export interface Port {
    readonly number: number;
    readonly name?: string | undefined;
    readonly protocol?: string | undefined;
    readonly visibility?: mesos.DiscoveryInfo.Visibility | undefined;
    readonly labels?: mesos.Labels | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface Ports {
    readonly ports?: readonly mesos.Port[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface DiscoveryInfo {
    readonly visibility: mesos.DiscoveryInfo.Visibility;
    readonly name?: string | undefined;
    readonly environment?: string | undefined;
    readonly location?: string | undefined;
    readonly version?: string | undefined;
    readonly ports?: mesos.Ports | undefined;
    readonly labels?: mesos.Labels | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace DiscoveryInfo {
    export enum Visibility {
      FRAMEWORK = 0,
      CLUSTER = 1,
      EXTERNAL = 2,
    }
  }
  export interface NetworkInfo {
    readonly groups?: readonly string[] | undefined;
    readonly labels?: mesos.Labels | undefined;
    readonly ip_addresses?: readonly mesos.NetworkInfo.IPAddress[] | undefined;
    /** Name of a CNI network. Set: the container has a network namespace of its own. Unset: the host's. */
    readonly name?: string | undefined;
    readonly port_mappings?: readonly mesos.NetworkInfo.PortMapping[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace NetworkInfo {
    export enum Protocol {
      IPv4 = 1,
      IPv6 = 2,
    }
    export interface IPAddress {
      /** Absent means "IPv4". */
      readonly protocol?: mesos.NetworkInfo.Protocol | undefined;
      readonly ip_address?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface PortMapping {
      readonly host_port: number;
      readonly container_port: number;
      readonly protocol?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** PERFMON, BPF and CHECKPOINT_RESTORE came with Mesos 1.12. */
  export interface CapabilityInfo {
    readonly capabilities?: readonly mesos.CapabilityInfo.Capability[] | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace CapabilityInfo {
    export enum Capability {
      UNKNOWN = 0,
      CHOWN = 1000,
      DAC_OVERRIDE = 1001,
      DAC_READ_SEARCH = 1002,
      FOWNER = 1003,
      FSETID = 1004,
      KILL = 1005,
      SETGID = 1006,
      SETUID = 1007,
      SETPCAP = 1008,
      LINUX_IMMUTABLE = 1009,
      NET_BIND_SERVICE = 1010,
      NET_BROADCAST = 1011,
      NET_ADMIN = 1012,
      NET_RAW = 1013,
      IPC_LOCK = 1014,
      IPC_OWNER = 1015,
      SYS_MODULE = 1016,
      SYS_RAWIO = 1017,
      SYS_CHROOT = 1018,
      SYS_PTRACE = 1019,
      SYS_PACCT = 1020,
      SYS_ADMIN = 1021,
      SYS_BOOT = 1022,
      SYS_NICE = 1023,
      SYS_RESOURCE = 1024,
      SYS_TIME = 1025,
      SYS_TTY_CONFIG = 1026,
      MKNOD = 1027,
      LEASE = 1028,
      AUDIT_WRITE = 1029,
      AUDIT_CONTROL = 1030,
      SETFCAP = 1031,
      MAC_OVERRIDE = 1032,
      MAC_ADMIN = 1033,
      SYSLOG = 1034,
      WAKE_ALARM = 1035,
      BLOCK_SUSPEND = 1036,
      AUDIT_READ = 1037,
      PERFMON = 1038,
      BPF = 1039,
      CHECKPOINT_RESTORE = 1040,
    }
  }
  /** Left out: share_pid_namespace (4), seccomp (5), ipc_mode (6), shm_size (7), share_cgroups (8). */
  export interface LinuxInfo {
    readonly capability_info?: mesos.CapabilityInfo | undefined;
    readonly bounding_capabilities?: mesos.CapabilityInfo | undefined;
    readonly effective_capabilities?: mesos.CapabilityInfo | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Left out: volumes (2), docker (3), rlimit_info (9), tty_info (10). */
  export interface ContainerInfo {
    readonly type: mesos.ContainerInfo.Type;
    readonly hostname?: string | undefined;
    readonly mesos?: mesos.ContainerInfo.MesosInfo | undefined;
    readonly network_infos?: readonly mesos.NetworkInfo[] | undefined;
    readonly linux_info?: mesos.LinuxInfo | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace ContainerInfo {
    export enum Type {
      DOCKER = 1,
      MESOS = 2,
    }
    /** Left out: image (1). */
    export interface MesosInfo {
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** Left out: shutdown_grace_period (13). */
  export interface ExecutorInfo {
    readonly executor_id: mesos.ExecutorID;
    readonly data?: Uint8Array | undefined;
    readonly resources?: readonly mesos.Resource[] | undefined;
    readonly command?: mesos.CommandInfo | undefined;
    readonly framework_id?: mesos.FrameworkID | undefined;
    readonly name?: string | undefined;
    readonly source?: string | undefined;
    readonly container?: mesos.ContainerInfo | undefined;
    readonly discovery?: mesos.DiscoveryInfo | undefined;
    readonly labels?: mesos.Labels | undefined;
    readonly type?: mesos.ExecutorInfo.Type | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace ExecutorInfo {
    export enum Type {
      UNKNOWN = 0,
      DEFAULT = 1,
      CUSTOM = 2,
    }
  }
  /** Exactly one of `executor` and `command` is set.
   * Left out: health_check (8), kill_policy (12), check (13), max_completion_time (14). */
  export interface TaskInfo {
    readonly name: string;
    readonly task_id: mesos.TaskID;
    readonly slave_id: mesos.SlaveID;
    readonly resources?: readonly mesos.Resource[] | undefined;
    readonly executor?: mesos.ExecutorInfo | undefined;
    readonly data?: Uint8Array | undefined;
    readonly command?: mesos.CommandInfo | undefined;
    readonly container?: mesos.ContainerInfo | undefined;
    readonly labels?: mesos.Labels | undefined;
    readonly discovery?: mesos.DiscoveryInfo | undefined;
    /** By name of the resource; a value may be infinite. */
    readonly limits?: { readonly [key: string]: mesos.Value.Scalar } | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** Left out: the statistics of blkio. */
  export interface CgroupInfo {
    readonly net_cls?: mesos.CgroupInfo.NetCls | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace CgroupInfo {
    export interface NetCls {
      readonly classid?: number | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  export interface ContainerStatus {
    readonly network_infos?: readonly mesos.NetworkInfo[] | undefined;
    readonly cgroup_info?: mesos.CgroupInfo | undefined;
    readonly executor_pid?: number | undefined;
    readonly container_id?: mesos.ContainerID | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** `backlog` and `bytes` are bytes, `ratebps` bytes a second, `ratepps` packets a second; the others count packets. */
  export interface TrafficControlStatistics {
    readonly id: string;
    readonly backlog?: bigint | undefined;
    readonly bytes?: bigint | undefined;
    readonly drops?: bigint | undefined;
    readonly overlimits?: bigint | undefined;
    readonly packets?: bigint | undefined;
    readonly qlen?: bigint | undefined;
    readonly ratebps?: bigint | undefined;
    readonly ratepps?: bigint | undefined;
    readonly requeues?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** The four SNMP messages have the columns of /proc/net/snmp. */
  export interface IpStatistics {
    readonly Forwarding?: bigint | undefined;
    readonly DefaultTTL?: bigint | undefined;
    readonly InReceives?: bigint | undefined;
    readonly InHdrErrors?: bigint | undefined;
    readonly InAddrErrors?: bigint | undefined;
    readonly ForwDatagrams?: bigint | undefined;
    readonly InUnknownProtos?: bigint | undefined;
    readonly InDiscards?: bigint | undefined;
    readonly InDelivers?: bigint | undefined;
    readonly OutRequests?: bigint | undefined;
    readonly OutDiscards?: bigint | undefined;
    readonly OutNoRoutes?: bigint | undefined;
    readonly ReasmTimeout?: bigint | undefined;
    readonly ReasmReqds?: bigint | undefined;
    readonly ReasmOKs?: bigint | undefined;
    readonly ReasmFails?: bigint | undefined;
    readonly FragOKs?: bigint | undefined;
    readonly FragFails?: bigint | undefined;
    readonly FragCreates?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface IcmpStatistics {
    readonly InMsgs?: bigint | undefined;
    readonly InErrors?: bigint | undefined;
    readonly InCsumErrors?: bigint | undefined;
    readonly InDestUnreachs?: bigint | undefined;
    readonly InTimeExcds?: bigint | undefined;
    readonly InParmProbs?: bigint | undefined;
    readonly InSrcQuenchs?: bigint | undefined;
    readonly InRedirects?: bigint | undefined;
    readonly InEchos?: bigint | undefined;
    readonly InEchoReps?: bigint | undefined;
    readonly InTimestamps?: bigint | undefined;
    readonly InTimestampReps?: bigint | undefined;
    readonly InAddrMasks?: bigint | undefined;
    readonly InAddrMaskReps?: bigint | undefined;
    readonly OutMsgs?: bigint | undefined;
    readonly OutErrors?: bigint | undefined;
    readonly OutDestUnreachs?: bigint | undefined;
    readonly OutTimeExcds?: bigint | undefined;
    readonly OutParmProbs?: bigint | undefined;
    readonly OutSrcQuenchs?: bigint | undefined;
    readonly OutRedirects?: bigint | undefined;
    readonly OutEchos?: bigint | undefined;
    readonly OutEchoReps?: bigint | undefined;
    readonly OutTimestamps?: bigint | undefined;
    readonly OutTimestampReps?: bigint | undefined;
    readonly OutAddrMasks?: bigint | undefined;
    readonly OutAddrMaskReps?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface TcpStatistics {
    readonly RtoAlgorithm?: bigint | undefined;
    readonly RtoMin?: bigint | undefined;
    readonly RtoMax?: bigint | undefined;
    readonly MaxConn?: bigint | undefined;
    readonly ActiveOpens?: bigint | undefined;
    readonly PassiveOpens?: bigint | undefined;
    readonly AttemptFails?: bigint | undefined;
    readonly EstabResets?: bigint | undefined;
    readonly CurrEstab?: bigint | undefined;
    readonly InSegs?: bigint | undefined;
    readonly OutSegs?: bigint | undefined;
    readonly RetransSegs?: bigint | undefined;
    readonly InErrs?: bigint | undefined;
    readonly OutRsts?: bigint | undefined;
    readonly InCsumErrors?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface UdpStatistics {
    readonly InDatagrams?: bigint | undefined;
    readonly NoPorts?: bigint | undefined;
    readonly InErrors?: bigint | undefined;
    readonly OutDatagrams?: bigint | undefined;
    readonly RcvbufErrors?: bigint | undefined;
    readonly SndbufErrors?: bigint | undefined;
    readonly InCsumErrors?: bigint | undefined;
    readonly IgnoredMulti?: bigint | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export interface SNMPStatistics {
    readonly ip_stats?: mesos.IpStatistics | undefined;
    readonly icmp_stats?: mesos.IcmpStatistics | undefined;
    readonly tcp_stats?: mesos.TcpStatistics | undefined;
    readonly udp_stats?: mesos.UdpStatistics | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  /** What a container has used since its start.
   * Left out: perf (13), disk_statistics (43), blkio_statistics (44) and all of cpus_*, mem_* and disk_*. */
  export interface ResourceStatistics {
    /** seconds since the epoch */
    readonly timestamp: number;
    readonly net_rx_packets?: bigint | undefined;
    readonly net_rx_bytes?: bigint | undefined;
    readonly net_rx_errors?: bigint | undefined;
    readonly net_rx_dropped?: bigint | undefined;
    readonly net_tx_packets?: bigint | undefined;
    readonly net_tx_bytes?: bigint | undefined;
    readonly net_tx_errors?: bigint | undefined;
    readonly net_tx_dropped?: bigint | undefined;
    /** Smoothed round trip times of the open connections. */
    readonly net_tcp_rtt_microsecs_p50?: number | undefined;
    readonly net_tcp_rtt_microsecs_p90?: number | undefined;
    readonly net_tcp_rtt_microsecs_p95?: number | undefined;
    readonly net_tcp_rtt_microsecs_p99?: number | undefined;
    readonly net_tcp_active_connections?: number | undefined;
    readonly net_tcp_time_wait_connections?: number | undefined;
    readonly processes?: number | undefined;
    readonly threads?: number | undefined;
    readonly net_traffic_control_statistics?: readonly mesos.TrafficControlStatistics[] | undefined;
    readonly net_snmp_statistics?: mesos.SNMPStatistics | undefined;
    /** Limits in bytes a second; a burst size in bytes. */
    readonly net_tx_rate_limit?: bigint | undefined;
    readonly net_tx_burst_rate_limit?: bigint | undefined;
    readonly net_tx_burst_size?: bigint | undefined;
    readonly net_rx_rate_limit?: bigint | undefined;
    readonly net_rx_burst_rate_limit?: bigint | undefined;
    readonly net_rx_burst_size?: bigint | undefined;
    readonly net_rate_statistics?: mesos.ResourceStatistics.RateStatistics | undefined;
    readonly net_ephemeral_ports?: mesos.Value.Range | undefined;
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace ResourceStatistics {
    /** Of the rates sampled in a window: bytes or packets a second; `samples` counts them. */
    export interface RatePercentiles {
      readonly min?: bigint | undefined;
      readonly max?: bigint | undefined;
      readonly p50?: bigint | undefined;
      readonly p90?: bigint | undefined;
      readonly p95?: bigint | undefined;
      readonly p99?: bigint | undefined;
      readonly p999?: bigint | undefined;
      readonly p9999?: bigint | undefined;
      readonly samples?: bigint | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface RateStatistics {
      readonly rx_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly rx_packet_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly rx_drop_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly rx_error_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly tx_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly tx_packet_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly tx_drop_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly tx_error_rate?: mesos.ResourceStatistics.RatePercentiles | undefined;
      readonly sampling_window_secs?: number | undefined;
      readonly sampling_interval_secs?: number | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  /** Left out: all but the reasons. */
  export interface TaskStatus {
    /** Fields that this program does not know, as they came. */
    readonly $unknowns?: readonly Uint8Array[];
  }
  export namespace TaskStatus {
    export enum Reason {
      REASON_COMMAND_EXECUTOR_FAILED = 0,
      REASON_EXECUTOR_TERMINATED = 1,
      REASON_EXECUTOR_UNREGISTERED = 2,
      REASON_FRAMEWORK_REMOVED = 3,
      REASON_GC_ERROR = 4,
      REASON_INVALID_FRAMEWORKID = 5,
      REASON_INVALID_OFFERS = 6,
      REASON_MASTER_DISCONNECTED = 7,
      REASON_CONTAINER_LIMITATION_MEMORY = 8,
      REASON_RECONCILIATION = 9,
      REASON_SLAVE_DISCONNECTED = 10,
      REASON_SLAVE_REMOVED = 11,
      REASON_SLAVE_RESTARTED = 12,
      REASON_SLAVE_UNKNOWN = 13,
      REASON_TASK_INVALID = 14,
      REASON_TASK_UNAUTHORIZED = 15,
      REASON_TASK_UNKNOWN = 16,
      REASON_CONTAINER_PREEMPTED = 17,
      REASON_RESOURCES_UNKNOWN = 18,
      REASON_CONTAINER_LIMITATION = 19,
      REASON_CONTAINER_LIMITATION_DISK = 20,
      REASON_CONTAINER_LAUNCH_FAILED = 21,
      REASON_CONTAINER_UPDATE_FAILED = 22,
      REASON_EXECUTOR_REGISTRATION_TIMEOUT = 23,
      REASON_EXECUTOR_REREGISTRATION_TIMEOUT = 24,
      REASON_TASK_GROUP_INVALID = 25,
      REASON_TASK_GROUP_UNAUTHORIZED = 26,
      REASON_IO_SWITCHBOARD_EXITED = 27,
      REASON_TASK_CHECK_STATUS_UPDATED = 28,
      REASON_TASK_HEALTH_CHECK_STATUS_UPDATED = 29,
      REASON_TASK_KILLED_DURING_LAUNCH = 30,
      REASON_SLAVE_REMOVED_BY_OPERATOR = 31,
      REASON_SLAVE_REREGISTERED = 32,
      REASON_MAX_COMPLETION_TIME_REACHED = 33,
      REASON_SLAVE_DRAINING = 34,
    }
  }
  export namespace slave {
    export enum ContainerClass {
      DEFAULT = 1,
      DEBUG = 2,
    }
    /** Why a container has to end. An agent aborts on `resources` with another reason than REASON_CONTAINER_LIMITATION or
     * its _DISK and _MEMORY. */
    export interface ContainerLimitation {
      readonly resources?: readonly mesos.Resource[] | undefined;
      readonly message?: string | undefined;
      readonly reason?: mesos.TaskStatus.Reason | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** A container that the agent knows again after its restart. */
    export interface ContainerState {
      /** Root containers only, and with the executor's own resources only: no ports of tasks. */
      readonly executor_info?: mesos.ExecutorInfo | undefined;
      readonly container_id: mesos.ContainerID;
      /** Of its first process, which may have ended by now. */
      readonly pid: bigint;
      /** The sandbox, on the host. */
      readonly directory: string;
      readonly ephemeral_volumes?: readonly string[] | undefined;
      /** Nested and standalone containers only. */
      readonly container_info?: mesos.ContainerInfo | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    /** What prepare() is told. Left out: docker (7), appc (10). */
    export interface ContainerConfig {
      /** The sandbox, on the host. */
      readonly directory: string;
      readonly user?: string | undefined;
      readonly rootfs?: string | undefined;
      /** Nested containers get a copy of their root's: its resources are not theirs. Standalone ones have none. */
      readonly executor_info?: mesos.ExecutorInfo | undefined;
      /** Command tasks only. */
      readonly task_info?: mesos.TaskInfo | undefined;
      readonly command_info: mesos.CommandInfo;
      readonly container_info?: mesos.ContainerInfo | undefined;
      readonly resources?: readonly mesos.Resource[] | undefined;
      /** Absent means DEFAULT. */
      readonly container_class?: mesos.slave.ContainerClass | undefined;
      readonly ephemeral_volumes?: readonly string[] | undefined;
      /** By name of the resource. */
      readonly limits?: { readonly [key: string]: mesos.Value.Scalar } | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface ContainerMountInfo {
      readonly target: string;
      readonly source?: string | undefined;
      readonly type?: string | undefined;
      readonly flags?: number | undefined;
      readonly options?: string | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export interface ContainerFileOperation {
      readonly operation?: mesos.slave.ContainerFileOperation.Operation | undefined;
      readonly symlink?: mesos.slave.ContainerFileOperation.Symlink | undefined;
      readonly mkdir?: mesos.slave.ContainerFileOperation.Mkdir | undefined;
      readonly rename?: mesos.slave.ContainerFileOperation.Rename | undefined;
      readonly mount?: mesos.slave.ContainerMountInfo | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
    export namespace ContainerFileOperation {
      export enum Operation {
        SYMLINK = 1,
        MOUNT = 2,
        RENAME = 3,
        MKDIR = 4,
      }
      export interface Symlink {
        readonly source?: string | undefined;
        readonly target?: string | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface Rename {
        readonly source?: string | undefined;
        readonly target?: string | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface Mkdir {
        readonly target?: string | undefined;
        readonly recursive?: boolean | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
    }
    /** What prepare() asks of the launch. An isolator that sets `rootfs` or `user` fails it.
     * Left out: effective_capabilities (7), rlimits (8), seccomp_profile (18). */
    export interface ContainerLaunchInfo {
      readonly pre_exec_commands?: readonly mesos.CommandInfo[] | undefined;
      readonly environment?: mesos.Environment | undefined;
      readonly rootfs?: string | undefined;
      /** CLONE_NEW* of the namespaces that it gets of its own. */
      readonly clone_namespaces?: readonly number[] | undefined;
      readonly command?: mesos.CommandInfo | undefined;
      readonly working_directory?: string | undefined;
      /** CLONE_NEW* of the parent's namespaces that it enters. */
      readonly enter_namespaces?: readonly number[] | undefined;
      readonly user?: string | undefined;
      readonly tty_slave_path?: string | undefined;
      readonly task_environment?: mesos.Environment | undefined;
      /** Lists of several isolators are merged to one: what any of them has is allowed. */
      readonly bounding_capabilities?: mesos.CapabilityInfo | undefined;
      readonly mounts?: readonly mesos.slave.ContainerMountInfo[] | undefined;
      readonly supplementary_groups?: readonly number[] | undefined;
      readonly task_supplementary_groups?: readonly number[] | undefined;
      readonly masked_paths?: readonly string[] | undefined;
      readonly file_operations?: readonly mesos.slave.ContainerFileOperation[] | undefined;
      readonly no_new_privileges?: boolean | undefined;
      /** Fields that this program does not know, as they came. */
      readonly $unknowns?: readonly Uint8Array[];
    }
  }
  export namespace v1 {
    export namespace master {
      export enum TaskState {
        TASK_STARTING = 0,
        TASK_RUNNING = 1,
        TASK_FINISHED = 2,
        TASK_FAILED = 3,
        TASK_KILLED = 4,
        TASK_LOST = 5,
        TASK_STAGING = 6,
        TASK_ERROR = 7,
        TASK_KILLING = 8,
        TASK_DROPPED = 9,
        TASK_UNREACHABLE = 10,
        TASK_GONE = 11,
        TASK_GONE_BY_OPERATOR = 12,
        TASK_UNKNOWN = 13,
      }
      export interface TaskStatus {
        readonly task_id?: mesos.TaskID | undefined;
        /** Absent: no health check has said anything. */
        readonly healthy?: boolean | undefined;
        readonly container_status?: mesos.ContainerStatus | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface Task {
        readonly task_id: mesos.TaskID;
        readonly framework_id: mesos.FrameworkID;
        readonly executor_id?: mesos.ExecutorID | undefined;
        readonly agent_id: mesos.SlaveID;
        readonly state?: mesos.v1.master.TaskState | undefined;
        readonly resources?: readonly mesos.Resource[] | undefined;
        /** Oldest first. */
        readonly statuses?: readonly mesos.v1.master.TaskStatus[] | undefined;
        readonly labels?: mesos.Labels | undefined;
        readonly discovery?: mesos.DiscoveryInfo | undefined;
        readonly container?: mesos.ContainerInfo | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface Attribute {
        readonly name: string;
        readonly text?: mesos.Value.Text | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface AgentInfo {
        readonly hostname: string;
        readonly attributes?: readonly mesos.v1.master.Attribute[] | undefined;
        readonly id?: mesos.SlaveID | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface FrameworkInfo {
        readonly id?: mesos.FrameworkID | undefined;
        /** That it has authenticated as, where the master asks for that. */
        readonly principal?: string | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface Framework {
        readonly framework_info: mesos.v1.master.FrameworkInfo;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface Agent {
        readonly agent_info: mesos.v1.master.AgentInfo;
        /** "slave(1)@10.1.2.3:5051". */
        readonly pid?: string | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export interface GetState {
        readonly get_tasks?: mesos.v1.master.GetState.GetTasks | undefined;
        readonly get_frameworks?: mesos.v1.master.GetState.GetFrameworks | undefined;
        readonly get_agents?: mesos.v1.master.GetState.GetAgents | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export namespace GetState {
        export interface GetTasks {
          readonly tasks?: readonly mesos.v1.master.Task[] | undefined;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface GetAgents {
          readonly agents?: readonly mesos.v1.master.Agent[] | undefined;
          /** Known from the registry, and not registered again with the master since it leads. */
          readonly recovered_agents?: readonly mesos.v1.master.AgentInfo[] | undefined;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface GetFrameworks {
          readonly frameworks?: readonly mesos.v1.master.Framework[] | undefined;
          readonly recovered_frameworks?: readonly mesos.v1.master.FrameworkInfo[] | undefined;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
      }
      export interface Event {
        readonly type?: mesos.v1.master.Event.Type | undefined;
        readonly subscribed?: mesos.v1.master.Event.Subscribed | undefined;
        readonly task_added?: mesos.v1.master.Event.TaskAdded | undefined;
        readonly task_updated?: mesos.v1.master.Event.TaskUpdated | undefined;
        readonly agent_added?: mesos.v1.master.Event.AgentAdded | undefined;
        readonly agent_removed?: mesos.v1.master.Event.AgentRemoved | undefined;
        readonly framework_added?: mesos.v1.master.Event.FrameworkAdded | undefined;
        readonly framework_updated?: mesos.v1.master.Event.FrameworkUpdated | undefined;
        readonly framework_removed?: mesos.v1.master.Event.FrameworkRemoved | undefined;
        /** Fields that this program does not know, as they came. */
        readonly $unknowns?: readonly Uint8Array[];
      }
      export namespace Event {
        export enum Type {
          UNKNOWN = 0,
          SUBSCRIBED = 1,
          TASK_ADDED = 2,
          TASK_UPDATED = 3,
          AGENT_ADDED = 4,
          AGENT_REMOVED = 5,
          FRAMEWORK_ADDED = 6,
          FRAMEWORK_UPDATED = 7,
          FRAMEWORK_REMOVED = 8,
          HEARTBEAT = 9,
        }
        export interface Subscribed {
          readonly get_state?: mesos.v1.master.GetState | undefined;
          readonly heartbeat_interval_seconds?: number | undefined;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface TaskAdded {
          readonly task: mesos.v1.master.Task;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface TaskUpdated {
          readonly framework_id: mesos.FrameworkID;
          /** The one that the scheduler has acknowledged last: its state may be an old one. */
          readonly status: mesos.v1.master.TaskStatus;
          /** The latest. */
          readonly state?: mesos.v1.master.TaskState | undefined;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface AgentAdded {
          readonly agent: mesos.v1.master.Agent;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface AgentRemoved {
          readonly agent_id: mesos.SlaveID;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface FrameworkAdded {
          readonly framework: mesos.v1.master.Framework;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface FrameworkUpdated {
          readonly framework: mesos.v1.master.Framework;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
        export interface FrameworkRemoved {
          readonly framework_info: mesos.v1.master.FrameworkInfo;
          /** Fields that this program does not know, as they came. */
          readonly $unknowns?: readonly Uint8Array[];
        }
      }
    }
  }
}
